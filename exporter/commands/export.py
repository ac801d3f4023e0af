"""`poolfold export`: the whole flow, then one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exporter import api
from exporter.artifact.publish import require_apart
from exporter.commands import flags
from exporter.commands.artifact_table import as_json as artifact_json
from exporter.commands.artifact_table import print_table
from exporter.host.console import Console
from exporter.host.text_file import read_texts
from exporter.spec.options import Layout


@flags.defaults_of(api.export)
@click.command(
    epilog=flags.examples(
        "poolfold export sentence-transformers/all-MiniLM-L6-v2 -o artifacts/minilm",
        "poolfold export ./model -o out --pooling mean --dtype fp16 --target tensorrt",
    )
)
@click.argument("model")
@click.option("-o", "--output", type=flags.FOLDER, required=True, metavar="DIR", help="The artifact: a new directory.")
@click.option(
    "--pooling",
    "--strategy",
    "pooling",
    type=flags.Pooling(),
    multiple=True,
    metavar="S",
    help="cls, mean, max, mean_sqrt_len_tokens, weightedmean, lasttoken, or several joined by '+'; 'trained' is what "
    "the checkpoint says. Repeat for several strategies.",
)
@click.option(
    "--dtype",
    "dtypes",
    type=flags.DTYPES,
    multiple=True,
    help="Precision of a graph; bf16: how openvino executes the fp32 one. int8: for onnxruntime, openvino and "
    "tensorrt-rtx, a graph of its own for each; fp8: for tensorrt-rtx. Repeat for several.",
)
@click.option("--target", "targets", type=flags.TARGETS, multiple=True, help="Repeat for several.")
@flags.building
@flags.texts
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="Keep the first N values (Matryoshka).")
@click.option(
    "--renormalize/--no-renormalize",
    help="Bring what --dimensions leaves of a unit vector to unit length again, or leave the bare cut, as "
    "sentence-transformers' truncate_dim.",
)
@click.option(
    "--max-seq-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tokens of the longest text; longer ones are cut.  [default: the model's limit]",
)
@click.option(
    "--fold-prompt",
    "fold_prompts",
    type=flags.NamedText(),
    multiple=True,
    metavar="NAME=TEXT",
    help="A further prompt that `encode(prompt_name=NAME)` need not compute, of a causal model; its own ones are "
    "folded anyway. Repeat for several.",
)
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@click.option("--force", is_flag=True, help="Replace a DIR that is not empty, once everything has succeeded.")
@flags.proving
@click.option(
    "--int8-floor",
    type=float,
    metavar="F",
    help="The smallest cosine that any text may have in int8 or fp8; layers that it costs too much stay as they are.  "
    "[default: 0.99]",
)
@click.option(
    "--layout",
    type=click.Choice([kind.value for kind in Layout]),
    help="hub: also onnx/model.onnx and the files by which sentence-transformers, optimum, fastembed and others load a "
    "model folder, and a model card. poolfold: its own files alone.",
)
@click.option(
    "--token-embeddings/--no-token-embeddings",
    default=None,
    help="Whether there is a graph that gives the vectors of tokens, onnx/model.onnx.  [default: with --layout hub]",
)
@click.option("--push-to-hub", metavar="REPO", help="Push it to owner/name on the Hugging Face hub as well.")
@click.option("--skip-latency", is_flag=True, help="Leave out the padding, latency and memory stages.")
@click.option(
    "--bench-seconds",
    type=click.IntRange(min=1),
    metavar="S",
    help="The most that these stages take together. What does not fit is left out, and the table says so.",
)
@flags.threads
@flags.pickle
@flags.remote
@flags.tokenizer
@flags.as_json
@flags.quiet
def export(output: Path, texts: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Export MODEL into DIR: a validated artifact.

    MODEL is a hub id, a folder or an .onnx file. DIR gets a graph for each strategy (how a text's token vectors become
    one) and precision, engines for the targets (what runs graphs) that have any, and what was checked and measured.
    """
    console = Console(as_json=as_json, quiet=quiet)
    require_apart(output, [texts] if texts else [])
    with console.waiting("export"):
        prompts = flags.by_name(options.pop("fold_prompts"), "--fold-prompt")
        manifest = api.export(output=output, texts=read_texts(texts), fold_prompts=prompts, console=console, **options)
    print_table(manifest, output, console)
    console.json(artifact_json(manifest, output))
