"""A model -> a validated artifact, stage by stage.

export_model         the whole; make_artifact the stages behind the capture
read_model           the model, and the user's options held against it -> plan
capture_checkpoint   encoder graph and reference vectors of a checkpoint, in a process with PyTorch
capture_onnx         the same of an ONNX file, in a process without PyTorch
ranges               how large each tensor gets on real text
recipes              which graph passes, in which order, and why
write_graphs         a graph for each strategy, precision and form
add_engines          engines for an artifact that exists
"""
