"""An artifact's graphs and engines as tables: what is inside each. Reads the manifest only."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.host.console import Console, count
from poolfold.manifest import Engine, Manifest, PaddingFree, Profile
from poolfold.sessions.by_padding import FASTER_BELOW


def print_graphs(manifest: Manifest, console: Console, *, passes: bool) -> None:
    """One row for each graph: how many nodes, which attention, and what the padding-free form brings.

    `passes`: below it, what each optimisation did.
    """
    rows = []
    for graph in manifest.graphs:
        free = graph.padding_free
        rows.append([
            graph.strategy, graph.dtype, str(graph.nodes), f"{graph.attention_ops} of {graph.attention_layers}",
            "-" if free is None else str(free.nodes), "-" if free is None else _faster_below(free),
        ])  # fmt: skip
    header = (
        "strategy",
        "dtype",
        "nodes",
        "attention\nfused",
        "padding-free\nnodes",
        "padding-free faster\nbelow real tokens",
    )
    console.line("")
    console.table("Graphs", header, rows)
    if any(graph.padding_free for graph in manifest.graphs):
        console.note(
            "attention fused: layers whose attention is one operator. padding-free: the same graph on real tokens "
            "only, which `load` takes where it is faster."
        )
    for strategy in manifest.strategies if passes else ():
        graph = next(g for g in manifest.graphs if g.strategy == strategy.name)
        for name, note in graph.passes.items():
            console.note(f"{strategy.name}, {name}: {note}")


def print_engines(manifest: Manifest, console: Console, *, insides: bool) -> None:
    """What engines need and take; with `insides` before it one row for each file, what its library says is inside."""
    files = [engine for engine in manifest.engines if engine.contents is not None]
    if manifest.engines:
        console.line("")
    if insides and files:
        header = ("strategy", "dtype", "engine", "attention\nfused", "build\ns", "kernels", "kept\nfp32", "a run\nMiB")
        rows = [_insides(engine) for engine in files]
        gives_way = ("kernels' precisions", "a run MiB", "kept fp32")
        console.table("Engines", (*header, "kernels' precisions"), rows, gives_way=gives_way)
    for target in dict.fromkeys(engine.target for engine in manifest.engines):
        own = [engine for engine in manifest.engines if engine.target == target]
        console.note(f"{target}: {_about(own)}.")
        _print_profiles(target, own[0].profiles, console)


def _about(engines: Sequence[Engine]) -> str:
    """What the engines of a target are."""
    first = engines[0]
    fused = " or ".join(dict.fromkeys(f"{engine.attention_fused} of {engine.attention_layers}" for engine in engines))
    what = f"by {first.library} {first.library_version}, attention fused in {fused} layers"
    if not first.compute_capabilities:
        return f"compiled where it runs {what}"
    gpus = ", ".join(first.compute_capabilities)
    return f"{count(len(engines), 'engine')} for GPUs of compute capability {gpus}, {what}"


def _insides(engine: Engine) -> list[str]:
    inside = engine.contents
    assert inside is not None
    form = "" if engine.form == "plain" else f" {engine.form}"
    memory = "/".join(f"{size / 2**20:.0f}" for size in inside.device_memory) or "-"
    precisions = ", ".join(f"{name} {number}" for name, number in inside.precisions.items())
    fused = f"{engine.attention_fused} of {engine.attention_layers}"
    seconds, kernels, kept = f"{engine.build_seconds:.1f}", str(inside.layers), str(inside.fp32_kept)
    return [engine.strategy, engine.dtype, engine.target + form, fused, seconds, kernels, kept, memory, precisions]


def _print_profiles(target: str, profiles: Sequence[Profile], console: Console) -> None:
    for profile in profiles:
        batch, seq = profile.batch, profile.seq_len
        share = "" if profile.share is None else f": {profile.share:.0%} of the texts"
        console.note(
            f"{target} takes {batch.min} to {batch.max} texts of {seq.min} to {seq.max} tokens, tuned for "
            f"{batch.opt} x {seq.opt}{share}."
        )
    shares = [profile.share for profile in profiles if profile.share is not None]
    if shares and sum(shares) < 1 - 1e-9:
        console.note(f"{target} takes no longer texts: {1 - sum(shares):.0%} of them are longer than every profile.")


def _faster_below(free: PaddingFree) -> str:
    measured = ", ".join(f"{share:.0%} on {target}" for target, share in free.faster_below.items())
    return measured or f"{FASTER_BELOW:.0%}, not measured"
