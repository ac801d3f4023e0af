"""Embedders of today at their real sizes, with random weights: exported, timed beside PyTorch, weighed."""
