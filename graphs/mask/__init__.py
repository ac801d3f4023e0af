"""Attention masks: what the subgraph of a mask computes, and every mask in one form."""
