"""A prompt that stands before every text: its keys and values are given to the graph instead of being computed."""
