"""Figures. Each is drawn once and kept twice: as SVG for the page, in the page's own colour, and as PNG beside it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# Told apart without colour too: by marker and by line.
_STYLES = (("#1f77b4", "o", "-"), ("#d55e00", "s", "--"), ("#009e73", "^", "-."), ("#cc79a7", "D", ":"),
           ("#7f7f7f", "v", "-"), ("#e69f00", "P", "--"))  # fmt: skip
_INK = "#16202a"


def figure(height: float = 4.0) -> tuple[Any, Any]:
    """An empty figure of the page's width and `height` inches, and its axes."""
    import matplotlib

    matplotlib.use("Agg")
    # Text stays text: it can be found, read aloud and scaled. Ids that do not change from run to run.
    matplotlib.rcParams.update({"svg.fonttype": "none", "font.size": 11, "svg.hashsalt": "poolfold"})
    from matplotlib import pyplot

    fig, axes = pyplot.subplots(figsize=(7.2, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.tick_params(colors=_INK)
    return fig, axes


def keep(fig: Any, folder: Path, name: str) -> str:
    """Write FOLDER/NAME.png; returns the figure as SVG, in the page's own colour where it was drawn in ink."""
    from matplotlib import pyplot

    buffer = io.StringIO()
    with warnings.catch_warnings():
        # A script that matplotlib's font lacks is boxes in the PNG; in the page it is text, which a browser can show.
        warnings.filterwarnings("ignore", message="Glyph")
        fig.savefig(folder / f"{name}.png", dpi=150, facecolor="white", metadata={"Software": None})
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(fig)
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Ids of several figures in one page must differ.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for ink in (_INK, "#000000"):
        svg = svg.replace(ink, "currentColor")
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def lines(
    folder: Path,
    name: str,
    series: Mapping[str, Mapping[int, float]],
    *,
    x: str,
    y: str,
) -> str:
    """Curves over lengths; both axes logarithmic, so that what grows in proportion is a straight line."""
    fig, axes = figure()
    for (label, points), (colour, marker, line) in zip(series.items(), _cycled(len(series)), strict=True):
        xs = sorted(points)
        axes.plot(xs, [points[at] for at in xs], color=colour, marker=marker, linestyle=line, label=label)
    ticks = sorted({at for points in series.values() for at in points})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    # Plain numbers, and not powers of ten.
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="y", which="both", labelsize=9, colors=_INK)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    return _finish(fig, axes, folder, name, x, y)


def scatter(
    folder: Path,
    name: str,
    points: Mapping[str, tuple[float, float, float, float]],
    order: Sequence[str],
    *,
    x: str,
    y: str,
) -> str:
    """One point a label: (x, y, low, high); coloured as they are where they stand in `order`."""
    fig, axes = figure()
    styles = _cycled(len(order))
    for label, (at, value, low, high) in points.items():
        colour, marker, _ = styles[order.index(label)]
        axes.errorbar(
            at, value, yerr=[[max(value - low, 0.0)], [max(high - value, 0.0)]],
            color=colour, marker=marker, markersize=8, capsize=4, linestyle="none", label=label,
        )  # fmt: skip
    return _finish(fig, axes, folder, name, x, y)


def intervals(
    folder: Path, name: str, values: Mapping[str, tuple[float, float, float]], order: Sequence[str], *, x: str
) -> str:
    """One line a label, the first on top: (value, low, high); coloured as they are where they stand in `order`."""
    fig, axes = figure(height=1.2 + 0.45 * len(values))
    styles = _cycled(len(order))
    for place, (label, (value, low, high)) in enumerate(values.items()):
        colour, marker, _ = styles[order.index(label)]
        error = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
        axes.errorbar(value, -place, xerr=error, color=colour, marker=marker, markersize=8, capsize=4, linestyle="none")
    axes.set_yticks([-place for place in range(len(values))], list(values))
    axes.set_ylim(0.6 - len(values), 0.4 + 0.2)
    return _finish(fig, axes, folder, name, x, "", legend=False)


def points(folder: Path, name: str, values: Mapping[str, float], *, x: str) -> str:
    """One point a label on a logarithmic axis, the first on top."""
    fig, axes = figure(height=1.0 + 0.4 * len(values))
    for place, value in enumerate(values.values()):
        axes.plot(value, -place, color=_STYLES[0][0], marker="o", markersize=8)
    axes.set_xscale("log")
    axes.set_yticks([-place for place in range(len(values))], list(values))
    axes.set_ylim(0.5 - len(values), 0.5)
    return _finish(fig, axes, folder, name, x, "", legend=False)


def rows(folder: Path, name: str, series: Mapping[str, Mapping[str, float]], *, x: str) -> str:
    """One line a group, the first on top, in it one point a label, on a logarithmic axis: label -> group -> value."""
    groups = list(dict.fromkeys(group for values in series.values() for group in values))
    fig, axes = figure(height=1.4 + 0.4 * len(groups) + 0.2 * len(series))
    for (label, values), (colour, marker, _) in zip(series.items(), _cycled(len(series)), strict=True):
        places = [-groups.index(group) for group in values]
        axes.plot(list(values.values()), places, color=colour, marker=marker, linestyle="none", label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks([-place for place in range(len(groups))], groups)
    axes.set_ylim(0.5 - len(groups), 0.5)
    fig.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=_INK, fontsize=9)
    return _finish(fig, axes, folder, name, x, "", legend=False)


def grouped(
    folder: Path,
    name: str,
    series: Mapping[str, Mapping[str, tuple[float, float, float]]],
    order: Sequence[str],
    *,
    y: str,
) -> str:
    """Groups side by side, in each one point a label: label -> group -> (value, low, high); coloured as in `order`."""
    fig, axes = figure()
    groups = list(next(iter(series.values())))
    styles = _cycled(len(order))
    width = 0.6 / max(len(series), 1)
    for number, (label, values) in enumerate(series.items()):
        colour, marker, _ = styles[order.index(label)]
        places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(groups))]
        low = [max(values[group][0] - values[group][1], 0.0) for group in groups]
        high = [max(values[group][2] - values[group][0], 0.0) for group in groups]
        axes.errorbar(
            places, [values[group][0] for group in groups], yerr=[low, high],
            color=colour, marker=marker, capsize=3, linestyle="none", label=label,
        )  # fmt: skip
    axes.set_xticks(range(len(groups)), groups)
    return _finish(fig, axes, folder, name, "", y)


def clouds(
    folder: Path,
    name: str,
    series: Mapping[str, npt.NDArray[np.float64]],
    at: Sequence[float],
    *,
    x: str,
    y: str,
) -> str:
    """One point a pair and label."""
    fig, axes = figure()
    for (label, values), (colour, marker, _) in zip(series.items(), _cycled(len(series)), strict=True):
        axes.plot(at, values, color=colour, marker=marker, linestyle="none", alpha=0.45, markersize=4, label=label)
    return _finish(fig, axes, folder, name, x, y)


def histograms(folder: Path, name: str, values: Mapping[str, npt.NDArray[np.float64]], *, x: str, y: str) -> str:
    """Outlines over one range, so that they can lie on each other."""
    fig, axes = figure()
    low = min(float(each.min()) for each in values.values())
    bins = np.linspace(low, 1.0, 50)
    for (label, each), (colour, _, line) in zip(values.items(), _cycled(len(values)), strict=True):
        axes.hist(
            each, bins=bins, histtype="step", density=True, color=colour, linestyle=line, linewidth=2, label=label
        )
    return _finish(fig, axes, folder, name, x, y)


def _cycled(count: int) -> Sequence[tuple[str, str, str]]:
    return [_STYLES[index % len(_STYLES)] for index in range(count)]


def _finish(fig: Any, axes: Any, folder: Path, name: str, x: str, y: str, *, legend: bool = True) -> str:
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    if legend:
        axes.legend(frameon=False, labelcolor=_INK, fontsize=9)
    return keep(fig, folder, name)
