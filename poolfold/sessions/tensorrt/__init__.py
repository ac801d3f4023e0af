"""TensorRT and TensorRT-RTX engines on an NVIDIA GPU.

session          an engine behind the `Session` protocol
engine           loads an engine; checks says whether it fits this library and GPU; library loads NVIDIA's libraries
lane             one run at a time in one stream; lanes hands lanes to threads
context          an execution context and its shapes
capture_policy   which shapes become CUDA graphs
gpu              the GPU; device_memory its memory and streams
"""
