"""What was measured, as a page shows it, and how time and memory grow with the length."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench import markdown
from exporter.measure.quartiles import Quartiles

_GIB = 1 << 30
CORPORA = {"corpus": "corpus", "full": "documents of the limit"}
"""Parts that embed documents, and what heads their tables."""

Pick = Callable[[Mapping[str, Any]], float | None]


def tables(kept: Mapping[str, Any]) -> str:
    """The tables of all parts that were measured."""
    made = _exports(kept), _times(kept), _memory(kept), _images(kept), _further(kept), _short(kept), _limit(kept)
    made += *(_corpus(kept, *part) for part in CORPORA.items()), _many(kept)
    made += (markdown.machines({what: of["environment"] for what, of in _measured(kept)}),)
    return "\n\n".join(table for table in made if table)


def _measured(kept: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What was measured at one time, by name."""
    for part in ("rows", "further", "short", "limit"):
        yield from ((f"{part} of {name}", of) for name, of in _found(kept, part))
    yield from ((part, kept[part]) for part in (*CORPORA, "many") if part in kept)


FIGURES = ("seconds", "MiB")
"""Of each model, `MODEL-seconds.png` and so on."""


def figures(kept: Mapping[str, Any], folder: Path) -> None:
    """Draw seconds of a row, and MiB that the call adds to the loaded model, over the length."""
    from exporter.reporting.plots import lines

    for name, of_model in _found(kept, "rows"):
        for y, pick in zip(FIGURES, (_seconds, _call_mib), strict=True):
            curves = {
                system: {n: value for n, at in _by_length(of["lengths"]).items() if (value := pick(at))}
                for system, of in of_model["systems"].items()
            }
            lines(folder, f"{name}-{y}", {s: c for s, c in curves.items() if c}, x="tokens", y=y)


def slope(lengths: Mapping[str, Mapping[str, Any]], pick: Pick) -> float | None:
    """The power of the length with which a quantity grows: the slope of its logarithm over that of the length.

    None where it is not positive at every length, or there is but one.
    """
    values = {n: pick(at) for n, at in _by_length(lengths).items()}
    known = [value for value in values.values() if value is not None and value > 0]
    if len(known) < len(values) or len(known) < 2:
        return None
    return float(np.polyfit(np.log(list(values)), np.log(known), 1)[0])


def _exports(kept: Mapping[str, Any]) -> str:
    heads = ["model", "validated tokens", "checkpoint -> artifact MiB", "export s", "peak MiB", "cosine at least, fp32"]
    return _table(
        heads,
        (
            [
                name,
                f"{of['validated_up_to']} of {of['limit']}",
                f"{markdown.mib(of['checkpoint_bytes'])} -> {markdown.mib(of['artifact_bytes'])}",
                f"{of['wall_s']:.0f}",
                markdown.mib(of["peak_tree_bytes"]),
                _below_one(min(value for executor, value in of["cosine"].items() if executor.endswith("fp32"))),
            ]
            for name, of in _found(kept, "exports")
        ),
    )


def _times(kept: Mapping[str, Any]) -> str:
    shapes = _shapes(kept)
    return _table(
        ["model", "system", *(f"{shape} s" for shape in shapes), "grows as"],
        (
            [name, system, *(_time(of["lengths"].get(shape)) for shape in shapes), _power(of["lengths"], _seconds)]
            for name, of_model in _found(kept, "rows")
            for system, of in of_model["systems"].items()
        ),
    )


def _memory(kept: Mapping[str, Any]) -> str:
    shapes = _shapes(kept)
    return _table(
        ["model", "system", *(f"{shape} MiB" for shape in shapes), "the call's grows as", "cosine at least"],
        (
            [
                *(name, system, *(_mib(of["lengths"].get(shape)) for shape in shapes)),
                _power(of["lengths"], _call_mib),
                _below_one(min(at["cosine"] for at in of["lengths"].values())),
            ]
            for name, of_model in _found(kept, "rows")
            for system, of in of_model["systems"].items()
        ),
    )


def _images(kept: Mapping[str, Any]) -> str:
    """The figures, as a page in docs/ shows them."""
    names = [f"{name}-{y}" for name, _ in _found(kept, "rows") for y in FIGURES]
    return "\n".join(f"![{name} over tokens](../bench/results/{name}.png)" for name in names)


def _further(kept: Mapping[str, Any]) -> str:
    return _table(
        ["model", "one call", "tokens", "s", "of the first", "MiB", "of the first", "cosine with the first"],
        (
            [name, system, _tokens(shape), *((_no(at), "", "", "", "") if at["told"] else _called(at, base))]
            for name, of_model in _found(kept, "further")
            for system, of in of_model["systems"].items()
            for shape, at in of["lengths"].items()
            for base in [of_model["systems"][of["baseline"]]["lengths"][shape]]
        ),
    )


def _short(kept: Mapping[str, Any]) -> str:
    shapes = sorted({s for _, m in _found(kept, "short") for of in m["systems"].values() for s in of}, key=_tokens)
    return _table(
        ["model", "short rows in ONNX Runtime", *(f"{shape} ms" for shape in shapes)],
        (
            [name, system, *(_short_time(of[shape]) for shape in shapes)]
            for name, of_model in _found(kept, "short")
            for system, of in of_model["systems"].items()
        ),
    )


def _limit(kept: Mapping[str, Any]) -> str:
    return _table(
        ["model", "tokens", "GiB allowed", "embedded", "s", "MiB"],
        (
            [
                *(name, of["tokens"], f"{of['limit_bytes'] / _GIB:.0f}"),
                *((_no(of), "", "") if of["told"] else _plain(of, "yes", of["increase_bytes"])),
            ]
            for name, of in _found(kept, "limit")
        ),
    )


def _corpus(kept: Mapping[str, Any], part: str, head: str) -> str:
    return _table(
        [head, "texts", "at once", "texts/s", "s", "peak MiB", "cosine with the text alone"],
        (
            [
                *(of["system"], of["texts"], of["batch_size"]),
                *(
                    (_no(of), "", "", "")
                    if of["told"]
                    else (*_plain(of, f"{of['texts_per_s']:.3g}", of["peak_bytes"]), _below_one(of["cosine"]))
                ),
            ]
            for of in kept.get(part, {}).get("systems", [])
        ),
    )


def _many(kept: Mapping[str, Any]) -> str:
    return _table(
        ["many short texts", "texts", "texts/s", "vectors MiB", "MiB besides model and vectors"],
        (
            [
                *(of["system"], of["texts"], f"{of['texts_per_s']:.0f}", markdown.mib(of["vectors_bytes"])),
                markdown.mib(None if of["call_bytes"] is None else of["call_bytes"] - of["vectors_bytes"]),
            ]
            for of in kept.get("many", {}).get("systems", [])
        ),
    )


def _table(heads: list[str], rows: Iterator[list[Any]]) -> str:
    """A table; nothing where there is no row."""
    listed = list(rows)
    return markdown.table(heads, listed) if listed else ""


def _found(kept: Mapping[str, Any], part: str) -> Iterator[tuple[str, Any]]:
    """What a part found, by model."""
    yield from kept.get(part, {}).items()


def _shapes(kept: Mapping[str, Any]) -> list[str]:
    shapes = {s for _, m in _found(kept, "rows") for of in m["systems"].values() for s in of["lengths"]}
    return sorted(shapes, key=_tokens)


def _by_length(lengths: Mapping[str, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    return {_tokens(shape): lengths[shape] for shape in sorted(lengths, key=_tokens)}


def _tokens(shape: str) -> int:
    """1x512 -> 512."""
    return int(shape.partition("x")[2])


def _seconds(at: Mapping[str, Any]) -> float:
    return float(at["ms"]["median"]) / 1e3


def _call_mib(at: Mapping[str, Any]) -> float | None:
    return None if at["call_bytes"] is None else at["call_bytes"] / (1 << 20)


def _short_time(at: Mapping[str, Any]) -> str:
    mark = "?" if at["disturbed"] else ""
    return f"{markdown.milliseconds(Quartiles(**at['ms']))} ({markdown.ratio(Quartiles(**at['faster']))}{mark})"


def _time(at: Mapping[str, Any] | None) -> str:
    if at is None:
        return ""
    mark = "?" if at["disturbed"] else ""
    spread = Quartiles(**{name: value / 1e3 for name, value in at["ms"].items()})
    return f"{markdown.ratio(spread)} ({at['faster']['median']:.2f}x{mark})"


def _mib(at: Mapping[str, Any] | None) -> str:
    if at is None:
        return ""
    ratio = "" if at["memory_ratio"] is None else f" ({at['memory_ratio']:.2f})"
    return f"{markdown.mib(at['increase_bytes'])}{ratio}"


def _power(lengths: Mapping[str, Mapping[str, Any]], pick: Pick) -> str:
    found = slope(lengths, pick)
    return "unknown" if found is None else f"n^{found:.2f}"


def _called(at: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[str, ...]:
    """Seconds, MiB and cosine of one call, each beside the baseline's where that has any."""
    of_time = f"{at['seconds'] / base['seconds']:.2f}" if "seconds" in base else ""
    of_memory = "" if at["memory_ratio"] is None else f"{at['memory_ratio']:.2f}"
    size = markdown.mib(at["increase_bytes"])
    return f"{at['seconds']:.1f}", of_time, size, of_memory, _below_one(at["cosine"])


def _plain(of: Mapping[str, Any], first: str, size: int | None) -> tuple[str, str, str]:
    return first, f"{of['seconds']:.1f}", markdown.mib(size)


def _no(of: Mapping[str, Any]) -> str:
    """Why not, with nothing in it that ends a cell."""
    return f"no: {of['told']}".replace("|", "/")


def _below_one(cosine: float) -> str:
    return "1" if cosine >= 1 else f"1 - {1 - cosine:.0e}"
