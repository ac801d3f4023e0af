"""poolfold on an NVIDIA GPU beside PyTorch, in one run: `python -m bench.gpu`.

card          which card it is, and how fast it multiplies and copies
batches       what is timed
systems       what is timed on it, as data
load_*        how a worker loads each
memory        the peak of device memory while a system runs
probe         one system alone in a process: whether it runs, its vectors, single calls, memory
alone         all of them so, one after another
parity        the vectors against PyTorch's in fp32
traffic       bytes that the vectors need moved
results       what is kept, as values
goals         what poolfold holds itself to on a GPU, and whether it does
document      results -> Markdown
measuring     a model in, its results out
__main__      the command line

Method and reading: bench/README.md. Windows and turns are exporter/measure's; models, exports and useful operations
are those of bench/peers.
"""
