"""Teach one pooling to give another's vectors: a student's [CLS] that does what its teacher's mean does.

students   a checkpoint -> the same transformer pooled one way or another, as sentence-transformers runs it
effect     how close a student's vectors are to the teacher's, on any texts
training   the training itself, on sentence-transformers' trainer; resumable, stopped early
distil     texts in, a published checkpoint out
"""
