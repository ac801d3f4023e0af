"""A graph that programs of other people load: operators that older runtimes have, token vectors beside the embedding.

token_vectors     give the token vectors as an output, before the embedding
plain_operators   pass: write Attention and RMSNormalization as the operators that they stand for
lower_opset       pass: say that the graph needs no more than an earlier opset
"""
