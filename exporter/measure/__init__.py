"""Latency, throughput and peak memory of an artifact against its model, each system in a process of its own.

workloads     the batches that are timed
systems       what is timed: the model itself, pooled by a strategy, and graphs of the artifact
warm_up       loading, and how long a call takes before anything is timed; what does not fit
interleave    `measure`: the systems take turns on every workload; `take_turns`, for whatever else does
schedule      how many rounds the time allows, and whose turn it is
disturbance   whether other programs disturbed a window, and which rounds count
quartiles     a median and its spread
report        windows -> medians, quartiles, ratios
process       a worker as its parent sees it; `weigh`: what a system adds to a fresh process
worker        a worker, as it runs, and the timing of a call
protocol      what a worker is asked, and what it answers
memory        resident memory of this process, and its peak
load_pytorch, load_original, load_artifact    what a worker loads
artifact_latency   an artifact against the model it came from
one_form           whether one form of a large graph serves every batch
padding_benefit    how much padding makes the padding-free form the faster one

Importing the package imports no submodule.
"""
