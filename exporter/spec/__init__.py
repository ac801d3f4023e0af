"""Frozen values that every stage reads. Nothing here reads a file, runs a model or imports a large library.

model           what a model says it is: Source, ModelSpec; precisions and forms
options         what a user asked of `export`; build_options how to build engine files
names           names that a user writes, in any case, with the one that was probably meant
choices         the options held against the model: strategies, head, precisions by target
origin          a checkpoint or an ONNX file, and what reading it may do
profiles        optimisation profiles from lengths
reference       what computes the vectors that an artifact must give
description     a model and its strategies as the manifest describes them
"""
