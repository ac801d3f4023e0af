"""Whether a graph or an engine still gives the model's vectors, row by row, and the same ones however it is asked.

corpus        our texts: many languages, and every kind of awkward one
tokens        texts as rows of token ids, and the batches that both sides are given
variants      the same rows asked for in other ways: alone, with more padding, reordered, padded on the other side
compare       two sets of vectors, and the limits that each precision is held to
checks        the reference's vectors once for all strategies, then every check of one candidate
behind_prompt the same with a folded prompt in front
effort        what candidates take beside the reference
ladder        what a call costs, and how far up the lengths the seconds and the memory reach
proof         which texts are proven, and up to which length
report        the outcome, as values and as a message
validation    all that an artifact runs here, checked through the loader that ships

Importing the package imports no submodule.
"""
