"""Checkpoint in, validated artifact out: reading, reference, export, targets, parity, latency, publishing, CLI.

Importing the package imports no submodule, so that the console script starts fast and a light install keeps working.
"""
