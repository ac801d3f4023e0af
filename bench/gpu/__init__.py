"""On an NVIDIA GPU: `python -m bench.gpu`."""
