"""Texts or token ids to vectors, with any session.

encoder        runs batches and returns the rows in input order
inputs         checks a caller's texts, ids and masks
parts          which rows run alike, behind a folded prompt or whole
small_vectors  fewer values of a vector, and fewer bits of each
"""

from __future__ import annotations

from poolfold.encoder.encoder import Encoder
from poolfold.encoder.small_vectors import PRECISIONS, Ranges

__all__ = ["PRECISIONS", "Encoder", "Ranges"]
