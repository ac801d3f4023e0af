"""Weights and activations in int8 and fp8. Importing the package imports no submodule."""
