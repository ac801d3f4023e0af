"""What a model is, and what computes its vectors: a PyTorch checkpoint or an ONNX file.

checkpoint/       a hub id, folder or .onnx file -> ModelSpec
from_checkpoint   a checkpoint, opened: its encoder and its reference
from_onnx_file    the same of an ONNX file
pytorch           the reference of a checkpoint: PyTorch, every strategy, in fp32
onnx_file         the reference of an ONNX file: ONNX Runtime on the file as it is, pooled in numpy
merge_adapter     a LoRA adapter merged into its base model, and proven
trace             a checkpoint's encoder as a graph; experts lets it trace a mixture of experts
adopt             an ONNX file's encoder as a graph; symbolic_shapes its shapes in terms of batch and seq
encoder_session   a captured encoder in ONNX Runtime, for what an export learns of it
of_artifact       the model that an artifact was exported from
"""
