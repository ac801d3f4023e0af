"""Side-by-side measurements against peers. Scripts: run one with `python -m bench.NAME` from the repository's root."""
