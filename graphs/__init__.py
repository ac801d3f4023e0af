"""ONNX in, ONNX out: one transformation of an embedding graph per file.

strategy         what a pooling strategy is, and its exact meaning in numpy
head             what stands behind the pooling: dense layers, normalisation, truncation
fold_pooling     pass: last_hidden_state -> sentence_embedding, pooled
fold_head        pass: the head, as graph nodes
cleanup          pass: constants folded, duplicates merged, dead nodes removed
float16          pass: a strongly typed fp16 graph, and the named rules that keep nodes fp32
rehearsal        pass: that fp16 graph in fp32, each fp16 tensor rounded to fp16 and back
ranges           pass: the largest magnitude of every tensor, as an extra output
weights          save graphs that share one external data file
summary          what a graph consists of: operators, dtypes, attention layers

Nothing here knows torch, a runtime, a checkpoint or the command line. Importing the package imports no submodule.
"""
