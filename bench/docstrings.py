"""English texts without a licence to ask for and without a network: from the docstrings of installed libraries.

    python -m bench.docstrings SENTENCES.txt [--count 8000]

One domain, and a narrow one: what is learnt from it may not carry to others, which `poolfold distill` then shows. The
pinned versions of constraints.txt give the same texts.
"""

import argparse
import ast
import random
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

LIBRARIES = ("sklearn", "scipy", "networkx", "transformers", "torch", "sympy", "matplotlib", "datasets", "numpy")
_SEED = 0
# Sections, roles, literals and mathematics are no English.
_FOREIGN = re.compile(r"[`\\*_{}<>=|\[\]]|::|\bdeprecated\b")


def sentences(libraries: Sequence[str] = LIBRARIES) -> list[tuple[str, str]]:
    """Different first sentences, each with its library, in an order that is always the same."""
    return _drawn(libraries, lambda text: [re.split(r"(?<=[.!?])\s", _line(text.split("\n\n")[0]))[0]], 6, 30)


def paragraphs(libraries: Sequence[str] = LIBRARIES) -> list[tuple[str, str]]:
    """The same of whole paragraphs."""
    return _drawn(libraries, lambda text: [_line(paragraph) for paragraph in text.split("\n\n")], 20, 200)


def _line(text: str) -> str:
    return " ".join(text.split())


def _drawn(
    libraries: Sequence[str], parts: Callable[[str], list[str]], fewest: int, most: int
) -> list[tuple[str, str]]:
    """Parts of docstrings that are English and have so many words."""
    site = Path(sysconfig.get_paths()["purelib"])
    distinct: dict[str, str] = {}
    for library in libraries:
        for path in sorted((site / library).rglob("*.py")):
            for text in (part for docstring in _of_file(path) for part in parts(docstring)):
                if text.endswith(".") and fewest <= len(text.split()) <= most and not _FOREIGN.search(text):
                    distinct.setdefault(text, library)
    shuffled = sorted(distinct.items())
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
            yield ast.get_docstring(node) or ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=8000)
    given = parser.parse_args()
    lines = [sentence for sentence, _ in sentences()][: given.count]
    given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} sentences in {given.output}")
