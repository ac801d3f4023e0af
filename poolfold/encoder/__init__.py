"""Texts or token ids to vectors, with any session.

encoder        the calls that people know
settings       what a caller may change about an encoder
call           what one call asks for, checked
inputs         checks a caller's texts, ids and masks
embed_texts    texts -> vectors, piece by piece
runner         rows of ids -> vectors, within a budget of memory
parts          which rows run alike, behind a folded prompt or whole
token_vectors  the vectors of the tokens of texts
pool           several processes that embed
similarity     how alike vectors are
small_vectors  fewer values of a vector, and fewer bits of each
tensors        PyTorch's tensors, for callers who ask for them
progress       a bar on standard error
warn           warnings that name the caller's line
"""

from __future__ import annotations

from poolfold.encoder.encoder import Encoder
from poolfold.encoder.small_vectors import PRECISIONS, Ranges
from poolfold.encoder.token_vectors import TokenVectors

__all__ = ["PRECISIONS", "Encoder", "Ranges", "TokenVectors"]
