"""`poolfold compare`: quality, speed and memory of each strategy on the user's data, and which one to take."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from exporter.artifact.publish import require_apart
from exporter.comparison.as_json import as_json as as_object
from exporter.comparison.as_json import next_command
from exporter.comparison.comparison import Comparison, compare
from exporter.comparison.cost import system_name
from exporter.comparison.entries import CompareOptions
from exporter.comparison.read_task import read_task
from exporter.host.console import Console
from exporter.host.libraries import require
from exporter.reporting.comparison_page import write_comparison
from exporter.spec.model import DType
from poolfold.errors import InputError
from poolfold.manifest import MANIFEST_NAME

_OURS = ".poolfold-compare"
"""Says that a folder is a comparison's, from its first moment."""


def run(
    *,
    model: str,
    data: str,
    kind: str | None,
    file_format: str | None,
    columns: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Compare, and say which strategy to take."""
    console = Console(as_json=as_json, quiet=quiet)
    require("datasets", "jinja2", "matplotlib", "pyarrow", "pytrec_eval", "scipy", "sklearn")
    given["dtypes"] = tuple(DType(name) for name in dict.fromkeys(given.pop("dtype")))
    given["pooling"] = tuple(dict.fromkeys(given["pooling"]))
    options = CompareOptions(model=model, folder=_folder(output, model, data), **given)
    task = read_task(data, kind, file_format, columns.split(",") if columns else ())
    _claim(options.folder)
    try:
        found = compare(options, task, console)
    except BaseException:
        _release(options.folder)
        raise
    said = as_object(found, model, data)
    with console.stage("report") as stage:
        page = write_comparison(options.folder, found, said, title=f"{Path(model).name} on {Path(data).name}")
        stage.outcome = str(page)
    _print(found, said["model"], console)
    console.line(f"Report: {page}")
    console.json({**said, "report": str(page)})


def _folder(output: Path | None, model: str, data: str) -> Path:
    """Where what is made is kept: the user's choice, or their cache, by model and data."""
    if output is not None:
        require_apart(output, [Path(model), Path(data)])
        return output
    name = hashlib.sha256(f"{Path(model).expanduser()}\n{Path(data).expanduser()}".encode()).hexdigest()[:16]
    return user_cache_path("poolfold") / "compare" / name


def _claim(folder: Path) -> None:
    """Make the folder; refuse one that holds anything but an earlier comparison.

    Raises:
        InputError: it is a file, holds other things, or cannot be made.
    """
    if (folder / MANIFEST_NAME).is_file() or (folder.is_dir() and any(folder.iterdir()) and not _ours(folder)):
        raise InputError(f"{folder} holds other things than a comparison. Choose another folder with -o.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _OURS).touch()
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}). Choose another folder with -o.") from None


def _release(folder: Path) -> None:
    """Take the folder away again where nothing was made in it."""
    if [path.name for path in folder.iterdir()] == [_OURS]:
        (folder / _OURS).unlink()
        folder.rmdir()


def _ours(folder: Path) -> bool:
    return (folder / _OURS).is_file()


def _print(found: Comparison, model: str, console: Console) -> None:
    decides, *others = found.metrics
    rows = []
    for dtype, strategies in found.quality.items():
        for name in found.ranked(dtype):
            entry, of = found.entry(name), strategies[name]
            cost, system = found.cost, system_name(entry, dtype)
            time = None if cost is None else cost.milliseconds(system)
            memory = None if cost is None else cost.most_memory(system)
            rows.append([
                f"{name}*" if entry.trained else name, dtype,
                f"{of[decides].value:.3f} [{of[decides].low:.3f}, {of[decides].high:.3f}]",
                *(f"{of[other].value:.3f}" for other in others),
                "-" if time is None else f"{time:.1f}", "-" if memory is None else f"{memory:.0f}",
                f"{entry.disk_bytes(dtype) / 2**20:.0f}", str(entry.dimensions),
            ])  # fmt: skip
    header = ["strategy", "dtype", decides, *others, "ms", "MiB", "disk", "dim"]
    dims = {entry.dimensions for entry in found.entries}
    if len(dims) == 1:  # a terminal is narrow
        header, rows = header[:-1], [row[:-1] for row in rows]
    sizes = "/".join(str(dim) for dim in sorted(dims))
    console.table(f"{model}: {sizes} dimensions, ranked by {decides}", header, rows)
    console.line(f"*: trained. [95 % interval]; the report has those of {', '.join(others)} too. disk: MiB.")
    if found.cost is not None:
        longest = max((length for of in found.cost.memory.values() for length in of), default=None)
        memory_said = (
            "" if longest is None else f" MiB: what model and {found.cost.rows} texts of {longest} tokens add."
        )
        console.line(f"ms: {found.cost.rows} texts of up to 128 tokens, median, ONNX Runtime on the CPU.{memory_said}")
    for dtype, costs in found.precision_cost.items():
        moved = ", ".join(f"{n} {i.value:+.5f} [{i.low:+.5f}, {i.high:+.5f}]" for n, i in costs.items())
        console.line(f"What {dtype} costs against {found.dtype} on {found.verdict.metric}: {moved}")
    console.line("")
    console.line(" ".join(found.verdict.reasons))
    console.line("")
    sure = "" if found.verdict.significant else " (no significant lead)"
    console.line(f"Take {found.verdict.recommended}{sure}: {next_command(found)}")
