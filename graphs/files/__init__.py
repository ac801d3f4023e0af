"""Graphs as files: saved with shared weights, loaded, summarised."""
