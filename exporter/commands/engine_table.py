"""An artifact's graphs and engines as tables: what is inside each. Reads the manifest only."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.host.console import Console, count
from poolfold.manifest import Engine, Manifest, PaddingFree, Profile
from poolfold.sessions.by_padding import FASTER_BELOW


def print_graphs(manifest: Manifest, console: Console, *, insides: bool) -> None:
    """What the graphs are; with `insides` one row for each, and what each optimisation did to it."""
    console.line("")
    free = any(graph.padding_free for graph in manifest.graphs)
    if not insides:
        own = [graph for graph in manifest.graphs if graph.runs_on("onnxruntime")]
        layers = _layers([(graph.attention_ops, graph.attention_layers) for graph in own])
        forms = ", each also on real tokens only (padding-free), taken where that is faster" if free else ""
        if own:
            console.note(f"onnxruntime: {count(len(own), 'graph')}, {layers}{forms}.")
        return
    rows = []
    for graph in manifest.graphs:
        form = graph.padding_free
        rows.append([
            graph.strategy, graph.dtype, str(graph.nodes), f"{graph.attention_ops} of {graph.attention_layers}",
            "-" if form is None else str(form.nodes), "-" if form is None else _faster_below(form),
        ])  # fmt: skip
    header = ("strategy", "dtype", "nodes", "attention\nfused", "padding-free\nnodes", "padding-free faster\nbelow")
    console.table("Graphs", header, rows)
    if free:
        console.note(
            "attention fused: layers whose attention is one operator. padding-free: the same graph on real tokens "
            "only, which `load` takes where less than that share of a batch is real tokens."
        )
    for strategy in manifest.strategies:
        graph = next(g for g in manifest.graphs if g.strategy == strategy.name)
        for name, note in graph.passes.items():
            console.note(f"{strategy.name}, {name}: {note}")


def _layers(fused: Sequence[tuple[int, int]]) -> str:
    """In how many layers attention is one operator, of so many: of each graph or engine, told once."""
    said = " or ".join(f"{number} of {layers}" for number, layers in dict.fromkeys(fused))
    return f"attention fused in {said} layers"


def print_engines(manifest: Manifest, console: Console, *, insides: bool) -> None:
    """What engines need and take; with `insides` before it one row for each file, what its library says is inside."""
    files = [engine for engine in manifest.engines if engine.contents is not None]
    if insides and files:
        console.line("")
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
    layers = _layers([(engine.attention_fused, engine.attention_layers) for engine in engines])
    what = f"by {first.library} {first.library_version}, {layers}"
    if not first.compute_capabilities:
        return f"compiled where it runs {what}"
    return f"{count(len(engines), 'engine')} for GPUs of compute capability {_gpus(engines)}, {what}"


def _gpus(engines: Sequence[Engine]) -> str:
    """Their compute capabilities; by precision where these differ, as fp8 has fewer."""
    of = {engine.dtype: ", ".join(engine.compute_capabilities) for engine in engines}
    if len(set(of.values())) == 1:
        return next(iter(of.values()))
    return " and ".join(f"{gpus} ({dtype})" for dtype, gpus in of.items())


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
    shares = {target: f"{share:.0%}" for target, share in free.faster_below.items()}
    measured = ", ".join(f"{share} on {t}" for t, share in (shares | dict.fromkeys(free.serves_all, "always")).items())
    return measured or f"{FASTER_BELOW:.0%}, not measured"
