"""Attention masks: find what each one means, and rewrite all of them to one form."""
