"""int8 and fp8: what a model's own activations tell, and which layers they cost too much.

calibrate       the magnitude of each channel on texts, and the factors that follow from it
sensitivity     which layers stay fp32, so that no text falls below a cosine
trial           an encoder in 8 bits with given layers in fp32, and its vectors beside those in fp32
texts           the texts that all of this looks at, none of which judges the result

Importing the package imports no submodule.
"""
