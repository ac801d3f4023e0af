"""English texts without a licence to ask for and without a network: from the docstrings of installed libraries.

    python -m bench.docstrings SENTENCES.txt [--count 8000]

One domain, and a narrow one: what is learnt from it may not carry to others, which `poolfold distill` then shows. The
pinned versions of constraints.txt give the same texts.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

LIBRARIES = ("sklearn", "scipy", "networkx", "transformers", "torch", "sympy", "matplotlib", "datasets", "numpy")
_FEWEST_WORDS, _MOST_WORDS = 6, 30
_SEED = 0
# Sections, roles, literals and mathematics are no English.
_FOREIGN = re.compile(r"[`\\*_{}<>=|\[\]]|::|\bdeprecated\b")


def sentences(libraries: Sequence[str] = LIBRARIES) -> list[tuple[str, str]]:
    """Different first sentences, each with its library, in an order that is always the same."""
    firsts = ((_first_sentence(docstring.split("\n\n")[0]), library) for docstring, library in _docstrings(libraries))
    return _drawn((text, library) for text, library in firsts if _is_english(text, _FEWEST_WORDS, _MOST_WORDS))


def paragraphs(libraries: Sequence[str] = LIBRARIES) -> list[tuple[str, str]]:
    """The same of whole paragraphs, of 20 to 200 words."""
    whole = (
        (" ".join(paragraph.split()), library)
        for docstring, library in _docstrings(libraries)
        for paragraph in docstring.split("\n\n")
    )
    return _drawn((text, library) for text, library in whole if _is_english(text, _MOST_WORDS - 10, 200))


def _drawn(texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    distinct: dict[str, str] = {}
    for text, library in texts:
        distinct.setdefault(text, library)
    shuffled = sorted(distinct.items())
    random.Random(_SEED).shuffle(shuffled)
    return shuffled


def _first_sentence(paragraph: str) -> str:
    return re.split(r"(?<=[.!?])\s", " ".join(paragraph.split()))[0]


def _is_english(text: str, fewest: int, most: int) -> bool:
    return text.endswith(".") and fewest <= len(text.split()) <= most and not _FOREIGN.search(text)


def _docstrings(libraries: Sequence[str]) -> Iterator[tuple[str, str]]:
    site = Path(sysconfig.get_paths()["purelib"])
    for library in libraries:
        for path in sorted((site / library).rglob("*.py")):
            for docstring in _of_file(path):
                yield docstring, library


def _of_file(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=8000)
    given = parser.parse_args()
    lines = [sentence for sentence, _ in sentences()][: given.count]
    given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} sentences in {given.output}")
