"""On a processor: `python -m bench.peers`."""
