"""A hub id, a folder or an ONNX file -> what the model says it is.

source                 the folder, downloaded where it is a hub id
graph_source           an ONNX file, its encoder, and its folder
read                   `read_spec`: everything below put together
modules_json           the modules, in order, in either dialect of sentence-transformers
pooling_config         the trained strategy
static_model           token vectors and their mean, of either library
dense_config           dense layers, weights included
head                   what stands behind the pooling
library_config         prompts, similarity, truncation
transformer_settings   what sentence-transformers keeps beside the transformer: limit, lower-casing
adapter                a LoRA adapter, and where its base model lies
transformer_config     the transformer's own configuration
author_dialect         keys that only the author's own code reads, held against what is computed
sequence_limit         how many tokens it takes
rope                   rotary positions that follow the length: plain ones within it
tokenizer              tokenizer.json as the runtime will load it
tokenizer_readings     tokenizer.json as published and as transformers reads it, compared
published_tokenizer    the file, with the flags that its class honoured
tokenizer_class        which class honoured which flag
library_tokenizer      the installed transformers' tokenizer
tokenizer_texts        what they are compared on
padding_token          the id that pads
weight_files           which files hold weights, and their shapes
weight_names           their names beside the model's own: a common prefix; codes where floats belong
weights                the files: whole, finite, their dtypes
content_hash           a name for all of that, by contents
json_object            JSON files, with errors that name the file

Importing the package imports no submodule.
"""
