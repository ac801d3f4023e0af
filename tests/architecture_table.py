"""docs/architectures.md, made of what an export of each tiny architecture says: `python -m tests.architecture_table`.

The test beside it (tests/exporter/pipeline/test_architecture_table.py) makes each row again and compares.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from exporter.spec.model import DType
from poolfold.errors import PoolfoldError
from poolfold.manifest import Engine, Manifest
from tests.architectures import ARCHITECTURES
from tests.conftest import EVERY_MODE, architecture_checkpoint, export_here

DOCUMENT = Path(__file__).parent.parent / "docs" / "architectures.md"
HEADER = (
    "| architecture | strategies, fp32 | push-down, `cls` `lasttoken` | padding-free | fp16 | RTX engines | fused |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)
_ENGINE_MODES = ("cls", "mean")


def half(model: Path, output: Path) -> Manifest | PoolfoldError:
    """The fp16 export, `cls` and `mean`, with TensorRT-RTX engines; or why there is none."""
    try:
        return export_here(
            model, output, pooling=_ENGINE_MODES, dtypes=(DType.FP16,), targets=("onnxruntime", "tensorrt-rtx")
        )
    except PoolfoldError as error:
        return error


def row(name: str, full: Manifest, fp16: Manifest | PoolfoldError) -> str:
    """One line of the table."""
    graphs = {graph.strategy: graph for graph in full.graphs}
    validated = [mode for mode in EVERY_MODE if mode in graphs and graphs[mode].status == "validated"]
    strategies = "all six" if len(validated) == len(EVERY_MODE) else ", ".join(validated)
    moved = {graphs[mode].passes["row-push-down"].split("; whole")[0] for mode in ("cls", "lasttoken")}
    free = [mode for mode, graph in graphs.items() if graph.padding_free is not None]
    why = next((graph.passes["padding-free"] for graph in full.graphs if graph.padding_free is None), "")
    cells = [
        name,
        strategies,
        " / ".join(sorted(_short(text) for text in moved)),
        "yes" if len(free) == len(graphs) else f"no: {_reason(why)}",
    ]
    if isinstance(fp16, PoolfoldError):
        cells += [f"refused: {str(fp16).splitlines()[0]}", "-", "-"]
    else:
        kept = sorted({rule.rule for graph in fp16.graphs for rule in graph.kept_fp32} - {"pooling"})
        cells += [f"yes{', fp32 by ' + ', '.join(kept) if kept else ''}", str(len(fp16.engines)), _fused(fp16.engines)]
    return f"| {' | '.join(cells)} |"


def _short(text: str) -> str:
    """`18 nodes compute one row, through the last attention` -> `through the last attention`."""
    return text.split(", ")[-1] if "compute one row" in text else text


def _reason(why: str) -> str:
    """Without the names of nodes, which say nothing to a reader."""
    words = why.removeprefix("not packed: ").split()
    return f"{words[0]} mixes tokens" if "mixes" in words else " ".join(words)


def _fused(engines: Sequence[Engine]) -> str:
    layers = sorted({engine.attention_layers for engine in engines})
    full = all(engine.attention_fused == engine.attention_layers for engine in engines)
    if full:
        return f"all {'/'.join(map(str, layers))} layers"
    parts = (f"{e.strategy} {e.form} {e.attention_fused} of {e.attention_layers}" for e in engines)
    return "; ".join(parts)


def document(rows: Sequence[str]) -> str:
    """The whole page."""
    before, after = "<!-- table: begin -->\n", "<!-- table: end -->\n"
    text = DOCUMENT.read_text()
    head, tail = text.split(before)[0], text.split(after)[1]
    return head + before + HEADER + "".join(f"{line}\n" for line in rows) + after + tail


def main() -> None:
    """Export every architecture and write the page."""
    rows = []
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            model = architecture_checkpoint(Path(folder) / "model", name)
            full = export_here(model, Path(folder) / "fp32", pooling=EVERY_MODE, threads=None)
            rows.append(row(name, full, half(model, Path(folder) / "fp16")))
    DOCUMENT.write_text(document(rows))


if __name__ == "__main__":
    main()
