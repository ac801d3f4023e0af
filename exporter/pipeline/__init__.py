"""A model -> a validated artifact, stage by stage.

export_model         the whole; make_artifact the stages after the capture
read_model           the model, and the user's options held against it -> plan
afford               what the machine can hold of a model, and what validation may take
capture              encoder graph and reference vectors, in a process of its own
ranges               how large each tensor gets on real text
quantize             how the weights are put into 8 bits, and which layers are not
recipes              which graph passes, in which order, and why
fold_prompts         the keys and values of prompts, as constants
write_graphs         a graph for each strategy, precision and form
vector_ranges        between which the values of a strategy's vectors lie, for vectors in 8 bits
run_memory           what a run of a graph takes, for loaders that cut batches
measurements         how much padding pays, and latency, in the time given
add_engines          engines for an artifact that exists
check_artifact       an artifact that exists, validated and measured again
"""
