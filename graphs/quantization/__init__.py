"""int8 weights and activations. Importing the package imports no submodule."""
