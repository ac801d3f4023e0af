"""Pooling and what stands behind it: the exact meaning in numpy, and the same as graph nodes."""
