"""int8 beside fp32 and beside what others make of the same model: `python -m bench.int8`.

models    what is measured
peers     what others make of a checkpoint, as systems
quantise  runs in the peers' environment, and makes it
vectors   what a system's vectors are, in a process of its own
"""
