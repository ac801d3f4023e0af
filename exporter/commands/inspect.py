"""`poolfold inspect`: what a checkpoint, an artifact or a graph is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from exporter.commands import flags
from exporter.commands.artifact_table import as_json as artifact_json
from exporter.commands.artifact_table import print_table
from exporter.commands.engine_table import print_engines, print_graphs
from exporter.host.console import Console, count
from exporter.spec.origin import Trust
from poolfold.errors import InputError
from poolfold.hub import artifact_or_none
from poolfold.verify import read_checked, verify


@click.command(
    epilog=flags.examples(
        "poolfold inspect artifacts/minilm --json", "poolfold inspect artifacts/minilm/onnx/mean_fp16.onnx"
    ),
)
@click.argument("subject", metavar="MODEL|DIR|FILE.onnx")
@flags.revision
@flags.pickle
@flags.remote
@click.option(
    "--wide",
    is_flag=True,
    help="Of an artifact: all columns whatever the width, and what is inside each graph and engine.",
)
@flags.as_json
@flags.quiet
def inspect(
    *,
    subject: str,
    revision: str | None,
    allow_pickle: bool,
    trust_remote_code: bool,
    wide: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say what a checkpoint, an artifact or a graph is."""
    console = Console(as_json=as_json, quiet=quiet, wide=wide)
    path = Path(subject)
    if path.is_file() or (path.suffix == ".onnx" and not path.is_dir()):
        _graph(path, console)
        return
    with console.waiting("read"):
        artifact = artifact_or_none(subject, revision, files=False)
        is_here, path = artifact == path.expanduser(), artifact or path
        manifest = None if artifact is None else verify(path) if is_here else read_checked(path)
    if manifest is not None:
        print_table(manifest, path, console)
        print_graphs(manifest, console, insides=wide)
        print_engines(manifest, console, insides=wide)
        if not is_here:
            console.line("By its manifest; the other files were not downloaded.")
        console.json(artifact_json(manifest, path))
    else:
        _checkpoint(subject, revision, Trust(allow_pickle, trust_remote_code), console)


def _graph(path: Path, console: Console) -> None:
    import onnx_ir as ir

    from exporter.model.checkpoint.graph_source import read_graph
    from graphs.encoder.foreign_encoder import find_encoder
    from graphs.files.summary import summarise

    if path.suffix.lower() != ".onnx":
        raise InputError(f"{path} is a file, and not an .onnx graph. Expected a checkpoint, an artifact or FILE.onnx.")
    if not path.exists():
        raise InputError(f"{path} does not exist. Expected a checkpoint, an artifact or FILE.onnx.")
    with console.waiting("read"):
        model = read_graph(path)
        summary = summarise(model)
        try:
            encoder, refused = find_encoder(model), None
        except ir.passes.PreconditionError as error:
            encoder, refused = None, str(error)
    console.line(f"{path}: opset {summary.opset}, {count(summary.nodes, 'node')}")
    for kind, tensors in (("input", summary.inputs), ("output", summary.outputs)):
        for tensor in tensors:
            shape = "unknown" if tensor.shape is None else ", ".join("?" if d is None else str(d) for d in tensor.shape)
            console.line(f"  {kind:<7} {tensor.name}: {tensor.dtype} [{shape}]")
    sizes = ", ".join(f"{dtype} {size / 2**20:.2f} MiB" for dtype, size in summary.initializer_bytes.items())
    dtypes = ", ".join(f"{dtype} {count}" for dtype, count in summary.node_output_dtypes.items())
    console.line(f"  weights {sizes}")
    console.line(f"  tensors {dtypes}")
    console.line(
        f"  attention: {summary.attention_ops} of {summary.attention_layers} layers are one Attention operator"
    )
    if encoder is None:
        console.note(f"  encoder: none that `poolfold export` could take: {refused}")
    else:
        folds = f"; {', '.join(encoder.folded)} would become constant" if encoder.folded else ""
        console.line(f"  encoder: `poolfold export {path}` would pool {encoder.hidden}{folds}")
    console.table("Operators", ("operator", "count"), [(op, str(count)) for op, count in summary.ops.items()])
    console.json(
        {
            "path": str(path),
            **dataclasses.asdict(summary),
            "encoder": None if encoder is None else dataclasses.asdict(encoder),
            "refused": refused,
        }
    )


def _checkpoint(subject: str, revision: str | None, trust: Trust, console: Console) -> None:
    with console.waiting("read"):
        import msgspec

        from exporter.model.checkpoint.read import read_spec
        from exporter.model.checkpoint.source import resolve_source
        from exporter.spec.description import describe_model, embedding_dim

        source = resolve_source(subject, revision, trust, weights=False)
        spec = read_spec(source, trust, weights=source.revision is None)
    model = describe_model(spec, spec.head, None)
    described: dict[str, Any] = msgspec.to_builtins(model)
    described["source"] = spec.source.name
    described["dim"] = embedding_dim(spec, spec.trained, spec.head) if spec.trained else None
    rows = {
        **({} if spec.source.name == subject else {"source": spec.source.name}),
        "revision": model.revision or "-",
        "transformer": f"{model.model_type}, {count(model.num_layers, 'layer')}, hidden size {model.hidden_size}",
        "vocabulary": f"{model.vocab_size} rows in the embedding table",
        "trained with": model.trained_strategy or "not said: name a strategy with --pooling",
        "modules": " -> ".join(model.modules),
        "dimensions": str(described["dim"] or "-"),
        "longest text": f"{model.text.max_seq_length} tokens, padded on the {model.text.padding_side}",
        "lower case": "yes" if model.text.lower_case else "as the tokeniser does",
        "prompts": ", ".join(f"{name}: {prompt!r}" for name, prompt in model.text.prompts.items()) or "none",
        "similarity": model.similarity,
    }
    console.table(subject, ("what", "is"), list(rows.items()))
    console.json(described)
