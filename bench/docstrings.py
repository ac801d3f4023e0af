"""English sentences without a licence to ask for and without a network: first sentences of installed libraries' docs.

    python -m bench.docstrings SENTENCES.txt [--count 8000]

One domain, and a narrow one: what is learnt from it may not carry to others, which `poolfold distill` then shows. The
pinned versions of constraints.txt give the same sentences.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

LIBRARIES = ("sklearn", "scipy", "networkx", "transformers", "torch", "sympy", "matplotlib", "datasets", "numpy")
_FEWEST_WORDS, _MOST_WORDS = 6, 30
_SEED = 0
# Sections, roles, literals and mathematics are no English.
_FOREIGN = re.compile(r"[`\\*_{}<>=|\[\]]|::|\bdeprecated\b")


def sentences(libraries: Sequence[str] = LIBRARIES) -> list[tuple[str, str]]:
    """Different sentences, each with its library, in an order that is always the same."""
    site = Path(sysconfig.get_paths()["purelib"])
    found: dict[str, str] = {}
    for library in libraries:
        for path in sorted((site / library).rglob("*.py")):
            for sentence in _of_file(path):
                found.setdefault(sentence, library)
    shuffled = sorted(found.items())
    random.Random(_SEED).shuffle(shuffled)
    return shuffled


def _of_file(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
            sentence = re.split(r"(?<=[.!?])\s", " ".join(paragraph.split()))[0]
            words = sentence.split()
            if sentence.endswith(".") and _FEWEST_WORDS <= len(words) <= _MOST_WORDS and not _FOREIGN.search(sentence):
                yield sentence


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=8000)
    given = parser.parse_args()
    lines = [sentence for sentence, _ in sentences()][: given.count]
    given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} sentences in {given.output}")
