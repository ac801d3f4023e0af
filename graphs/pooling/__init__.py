"""The pooling and the head that follows it: defined in numpy, and appended to a graph as nodes."""
