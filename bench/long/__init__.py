"""Texts of thousands of tokens: time, memory, what a limit of memory allows, and corpora with long texts in them.

models    what is measured: hub configurations that take 8192 tokens
once      one call in a fresh process: vectors, seconds, memory, under a limit
parts     the parts of a run: rows, further, short, limit, corpus, many
texts     texts of known lengths
tables    what was measured, as a page shows it, and how it grows with the length
"""
