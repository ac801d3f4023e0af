"""Attention over long texts: memory that grows with the length, and no score that a mask hides."""
