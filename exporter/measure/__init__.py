"""Latency, throughput and peak memory of an artifact against PyTorch, each system in a process of its own.

workloads     the batches that are timed
systems       what is timed: the PyTorch model of a strategy, a graph of the artifact
interleave    `measure`: the systems take turns on every workload
schedule      how many rounds the time allows, and whose turn it is
report        windows -> medians, quartiles, ratios
process       a worker as its parent sees it
worker        a worker, as it runs: `python -m exporter.measure.worker`
protocol      what the two say to each other
memory        resident memory of this process, and its peak
load_pytorch, load_artifact, load_openvino    what a worker loads

Importing the package imports no submodule.
"""
