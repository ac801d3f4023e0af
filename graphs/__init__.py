"""ONNX in, ONNX out: one transformation of an embedding graph per file.

strategy         what a pooling strategy is, and its exact meaning in numpy
head             what stands behind the pooling, and its exact meaning in numpy: dense layers, normalisation, truncation
cleanup          constants folded, duplicates merged, dead nodes and build-machine notes removed, dtypes inferred
foreign_encoder  whether a graph that somebody else exported is an encoder, and which of its parts count
adopt_encoder    pass: the interface of such a graph becomes poolfold's own
raise_opset      pass: the opset that the others know
known_dims       pass: dimensions that are numbers, instead of their computation
constant_shapes  pass: shapes to reshape to, as constants
canonical_mask   pass: every attention mask in one form
uniform_lookups  pass: a look-up of one row for all tokens becomes that row
embedding_sums   pass: such a row goes into the table of positions
fold_pooling     pass: last_hidden_state -> sentence_embedding, pooled
fold_head        pass: the head, as graph nodes
push_down_row    pass: only the row that the pooling reads is computed, as far down as it goes
row_attention    pass: an attention of one query, as engines fuse it
grouped_heads    pass: key and value heads shared instead of repeated
padding_free     pass: real tokens only
float16          pass: a strongly typed fp16 graph
float16_rules    the named rules that keep nodes of it fp32
rehearsal        pass: that fp16 graph in fp32, each fp16 tensor rounded to fp16 and back
ranges           pass: the largest magnitude of every tensor, as an extra output
weights          save graphs that share one external data file
summary          what a graph consists of: operators, dtypes, attention layers

What several of them ask:

dims             dimensions by name
constants        constants made and read
mask_program     the subgraph of a mask, run; mask_form what it means; mask_readers what reads it
row_rules        what an operator needs for one row of its output; row_picker takes a row out
token_rules      which operators work on each token by itself; token_mixing what hides padding from the others
stage            append nodes that are marked with the stage they belong to
movement         which operators only move values
attention_mask   which constants switch attention off, and where they flow
positions        which float arithmetic is about positions
magnitude        how large a constant gets
attention_scores how large the scores inside an Attention can get

A clone for each strategy is `onnx_ir.Model.clone`: it shares the weights. It shares type objects as well, so a pass
gives a value a new type and never assigns to `value.dtype`.

Nothing here knows torch, a runtime, a checkpoint or the command line. Importing the package imports no submodule.
"""
