"""Pieces of Markdown, and numbers as the documents write them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.measure.quartiles import Quartiles

_MIB = 1 << 20
_NAMED = ("poolfold", "torch", "transformers", "onnxruntime", "openvino")
"""Libraries whose versions stand beside numbers."""


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table; each row has as many cells as there are heads."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)


def ratio(value: Quartiles) -> str:
    """Median [quartiles], to hundredths."""
    return f"{value.median:.2f} [{value.q1:.2f}, {value.q3:.2f}]"


def milliseconds(value: Quartiles) -> str:
    """Median [quartiles]."""
    return f"{number(value.median)} [{number(value.q1)}, {number(value.q3)}]"


def number(value: float) -> str:
    """Four digits, and never an exponent."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def mib(size: int | None) -> str:
    """Bytes as MiB."""
    return "unknown" if size is None else f"{size / _MIB:.0f}"


def machines(environments: Mapping[str, Mapping[str, Any]]) -> str:
    """What each name was measured on, a line for all that were on the same; environments as results keep them."""
    names: dict[str, list[str]] = {}
    for name, of in environments.items():
        cpu = f"{of['cpu']} ({of['instructions']})" if of.get("instructions") else of["cpu"]
        versions = ", ".join(f"{library} {of['versions'][library]}" for library in _NAMED if library in of["versions"])
        names.setdefault(f"{cpu}, {of['cores']} cores, {versions}", []).append(name)
    return bullets(f"{', '.join(those)}: measured on {machine}." for machine, those in names.items())


def between(document: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two markers of a document.

    Raises:
        ValueError: a marker is not there.
    """
    before, first, rest = document.read_text().partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{document} has no {begin} and {end} in it; put them where the text shall stand")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")
