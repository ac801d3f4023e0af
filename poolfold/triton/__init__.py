"""An artifact as a model of NVIDIA's Triton: text in, vector out.

repository  an artifact -> a model repository that starts as it is
config      config.pbtxt: the one model of a CPU; tokeniser, graph and ensemble of a GPU
backend     the model that computes texts, in Triton's Python backend
tokens      the step that turns texts into ids, before a native backend
"""
