"""Transformations of ONNX graphs. A pass is one transformation in one file; the other files hold what passes call.

encoder/         bring an encoder into the form that the other folders expect
  cleanup          fold constants, merge duplicates, remove dead nodes and stack traces, infer dtypes
  foreign_encoder  check that a graph from another exporter is an encoder, and find its token vectors
  adopt_encoder    pass: give such a graph poolfold's inputs and output
  raise_opset      pass: convert the graph to the opset that the other passes expect
  known_dims       pass: replace computed dimensions by constants where they are numbers
  constant_shapes  pass: give each Reshape a constant target shape
  uniform_lookups  pass: replace a Gather whose indices are all equal by the one row that it gathers
  embedding_sums   pass: add such a row to the table of positions
  ids_of_tokens    pass: let positions see the padding's id wherever the mask is 0
  rms_norm         pass: write a root-mean-square norm as one operator
  grouped_heads    pass: let Attention share key and value heads instead of repeating them
mask/            attention masks
  canonical_mask   pass: rewrite every attention mask to the same additive form
  mask_program     runs the subgraph of a mask; mask_form tells its meaning; mask_readers lists the nodes that read it
pooling/         from token vectors to one vector per text
  strategy         pooling strategies and their definition in numpy
  head             the modules after the pooling (dense, normalise, truncate) and their definition in numpy
  fold_pooling     pass: append the pooling; the output becomes sentence_embedding
  fold_head        pass: append the head
  whole_mask       pass: let the encoder see the tokens that the pooling leaves out
last_layer/      compute only the row that cls or lasttoken reads
  push_down_row    pass: select that row as early as possible; row_picker appends the selection
  row_attention    pass: write an Attention of one query as operators that engines fuse
attention/       attention over long texts
  attentions       finds the attentions that can be taken apart
  sliced_attention pass: compute it in slices of queries beyond a length; sliced_queries appends the slices
  blocked_windows  pass: compute windows in blocks of queries, without control flow
unpadding/       compute real tokens only
  padding_free     pass: pack the real tokens before the operators that treat each token separately
  token_rules      which operators treat each token separately; token_mixing checks that the others mask padding
prompt/          a prompt that stands before every text
  behind_prompt    pass: take its keys and values as an input, and compute what follows
precision/       fp16, and weights in 16 bits
  float16          pass: convert a graph to strongly typed fp16; float16_rules lists the nodes that stay fp32
  half_storage     pass: store fp32 weights as bf16 or fp16 where every value survives, and widen them in the graph
  rehearsal        pass: compute that fp16 graph in fp32, rounding each fp16 tensor to fp16 and back
  ranges           pass: output the largest magnitude of every tensor
  attention_scores bounds the scores inside an Attention
  mask_constants   finds the constants that mask attention, and the tensors that carry them
  positions        finds the float arithmetic on positions
quantization/    int8 and fp8
  linears          finds the products with a weight, and those that share an input
  numbers          the numbers: rounding, scales, and factors that smooth activations
  quantized        the weights of a model in 8 bits, each made once
  quantize_tables  pass: look embeddings up in int8, with a scale a row
  quantize_rows    pass: multiply in int8, with a scale for each row of the activations
  quantize_weights pass: store weights in int8 and widen them, for runtimes that round activations themselves
  quantize_static  pass: write rounding at constant scales into the graph, for engines
  rehearsal        pass: round these activations in fp32
  channel_ranges   pass: output the extremes of each channel that linear layers read
portable/        a graph that other people's programs load
  token_vectors    give the token vectors as an output, before the embedding
  plain_operators  pass: write Attention and RMSNormalization as the operators that they stand for
  lower_opset      pass: say that the graph needs no more than an earlier opset
files/           graphs on disk
  weights          save graphs that share one external data file
  summary          count what a graph consists of: operators, dtypes, attention layers
ir/              what every folder above imports
  names            names of inputs and outputs
  dims             dimensions by name
  masks            the form of an attention mask, written and read again
  constants        make and read constants; magnitude measures them
  plain_attention  writes an Attention as two products and a softmax
  row_rules        which rows of its inputs an operator needs for one row of its output
  movement         operators that move values and compute none
  stage            append nodes, each marked with the stage that added it

Each strategy works on a clone of the encoder (`onnx_ir.Model.clone`). Clones share their weights and their type
objects, so a pass gives a value a new type and never assigns to `value.dtype`.

Nothing here depends on torch, a runtime, a checkpoint or the command line. Importing a folder imports no submodule.
"""
