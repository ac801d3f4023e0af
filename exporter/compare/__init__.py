"""Which pooling for a user's data: quality, speed and memory of each strategy, side by side.

rows        the rows of a file, each with its place
tasks       rows -> what is to be measured: pairs, retrieval, labels, bare texts
quality     vectors -> the field's metrics, one value a unit that can be drawn again
resampling  paired bootstrap: intervals, differences, and a correction for many strategies
cost        latency, throughput and memory of each strategy
verdict     which strategy, by stated rules
"""
