"""Compute the last layer only for the row that the pooling reads, where it reads one row."""
