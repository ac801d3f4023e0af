"""Side-by-side measurements against peers. Scripts: run one with `python -m bench.NAME` from the repository's root.

peers, gpu       poolfold beside its peers on a processor, and on a GPU
text             texts to vectors
export_cost      what an export costs; process_cost: what a process does
passes           what each graph pass brings
session_options  what poolfold's settings of ONNX Runtime bring
pooling_claims   what people say of poolings
docstrings       English texts

What they share, on `exporter.measure`:

models, batches, exports    checkpoints, the batches that are timed, what is made before
systems                     what is timed, as data
load_*                      how a worker loads each
turns                       systems in turns, as results
work, results, goals        what the vectors need; what is kept; whether it is enough
document, markdown          results as a document
"""
