"""TensorRT's API held against what poolfold calls, on a machine without TensorRT."""
