"""ONNX in, ONNX out: chapters on a ground floor. A pass is one transformation in one file; the rest is what passes ask.

encoder/         an encoder in the form that the other chapters expect
  cleanup          constants folded, duplicates merged, dead nodes and build-machine notes removed, dtypes inferred
  foreign_encoder  whether a graph that somebody else exported is an encoder, and which of its parts count
  adopt_encoder    pass: the interface of such a graph becomes poolfold's own
  raise_opset      pass: the opset that the others know
  known_dims       pass: dimensions that are numbers, instead of their computation
  constant_shapes  pass: shapes to reshape to, as constants
  uniform_lookups  pass: a look-up of one row for all tokens becomes that row
  embedding_sums   pass: such a row goes into the table of positions
  grouped_heads    pass: key and value heads shared instead of repeated
mask/            attention masks
  canonical_mask   pass: every attention mask in one form
  mask_program     the subgraph of a mask, run; mask_form what it means; mask_readers what reads it
pooling/         from token vectors to one vector a text
  strategy         what a pooling strategy is, and its exact meaning in numpy
  head             what stands behind the pooling, and its exact meaning in numpy: dense, normalise, truncate
  fold_pooling     pass: last_hidden_state -> sentence_embedding, pooled
  fold_head        pass: the head, as graph nodes
last_layer/      where the pooling reads one row
  push_down_row    pass: only that row is computed, as far down as it goes; row_picker takes it out
  row_attention    pass: an attention of one query, as engines fuse it
unpadding/       real tokens only
  padding_free     pass: pack the real tokens before token-wise work
  token_rules      which operators work on each token by itself; token_mixing what hides padding from the others
precision/       fp16
  float16          pass: a strongly typed fp16 graph; float16_rules the named rules that keep nodes of it fp32
  rehearsal        pass: that fp16 graph in fp32, each fp16 tensor rounded to fp16 and back
  ranges           pass: the largest magnitude of every tensor, as an extra output
  attention_scores how large the scores inside an Attention can get
  mask_constants   which constants switch attention off, and where they flow
  positions        which float arithmetic is about positions
files/           graphs on disk
  weights          save graphs that share one external data file
  summary          what a graph consists of: operators, dtypes, attention layers
ir/              the ground floor, which every chapter reads
  names            names of inputs and outputs
  dims             dimensions by name
  constants        constants made and read; magnitude how large one gets
  row_rules        what an operator needs for one row of its output
  movement         which operators only move values
  stage            append nodes that are marked with the stage they belong to

A clone for each strategy is `onnx_ir.Model.clone`: it shares the weights. It shares type objects as well, so a pass
gives a value a new type and never assigns to `value.dtype`.

Nothing here knows torch, a runtime, a checkpoint or the command line. Importing a chapter imports no submodule.
"""
