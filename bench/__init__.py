"""Side-by-side measurements against peers: run one with `python -m bench.NAME` from the repository's root.

peers, int8, four_bits, gpu, embedders, long, text, service, triton, bulk, export_cost, passes, session_options,
pooling_claims, docstrings  the programs
models, batches, exports    checkpoints, the batches that are timed, what is made before
systems, load_*             what is timed, as data, and how a worker loads it; beside_graphs: what runs beside a graph
tritonserver, triton_client a real Triton server, started; what asks it, in its own environment
turns                       systems in turns, as results, on `exporter.measure`
work, results, goals        what the vectors need; what is kept; whether it is enough
document, markdown          results as a document
"""
