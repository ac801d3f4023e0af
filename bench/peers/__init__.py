"""poolfold's artifacts against their peers, interleaved in one run at equal threads: `python -m bench.peers`.

models        the two checkpoints
inputs        the batches that are timed
exports       what is made before: our artifact, the peers' graphs
systems       what is timed, as data; what of it is missing on this machine
load_*        how a worker loads each; pooling: what the peers' users write behind their graph
work          floating-point operations that the vectors need
results       what is kept, as values
goals         what poolfold holds itself to, and whether it does
document      results -> Markdown
measuring     models in, results out
__main__      the command line

Method and reading: bench/README.md.
"""
