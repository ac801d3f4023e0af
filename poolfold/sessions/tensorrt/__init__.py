"""TensorRT and TensorRT-RTX engines on an NVIDIA GPU.

session          an engine as a `Session`
engine           loads an engine; checks: whether it fits this library and GPU; library: loads NVIDIA's libraries
lane             runs one batch at a time in one stream; lanes: a pool that lends lanes to threads
context          execution contexts and their shapes
capture_policy   which shapes become CUDA graphs
gpu              properties of the GPU; device_memory: its memory and streams
"""
