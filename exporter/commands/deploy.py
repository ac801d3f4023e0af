"""`poolfold deploy`: an artifact in the form that another server starts from."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.commands import flags
from exporter.host.console import Console

_KINDS = ("triton",)


@click.command(
    epilog=flags.examples(
        "poolfold deploy triton artifacts/minilm -o models",
        "poolfold deploy triton artifacts/minilm -o models --prompt-name query",
    )
)
@click.argument("kind", type=click.Choice(_KINDS), metavar="triton")
@click.argument("directory", type=flags.FOLDER, metavar="DIR")
@click.option("-o", "--output", type=flags.FOLDER, required=True, metavar="REPO", help="The model repository.")
@click.option("--name", metavar="NAME", help="The model's.  [default: DIR's own name]")
@click.option(
    "--strategy", "--pooling", "strategy", type=flags.Pooling(), metavar="S",
    help="A strategy of DIR.  [default: the trained one]",
)  # fmt: skip
@click.option(
    "--target",
    type=flags.TARGETS,
    default="onnxruntime",
    show_default=True,
    help="onnxruntime and openvino compute texts on a CPU; tensorrt its engine, behind a tokeniser.",
)
@click.option("--gpu", is_flag=True, help="Have onnxruntime's own backend compute the graph on a GPU.")
@click.option("--dtype", type=flags.DTYPES, help="Precision to run in.  [default: fp32 where DIR has it]")
@click.option("--prompt-name", metavar="NAME", help="A prompt before every text, such as 'query'.")
@click.option("--instances", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on a CPU.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Of each.  [default: the cores allowed]")
@click.option("--force", is_flag=True, help="Replace the model where REPO has it.")
@flags.as_json
@flags.quiet
def deploy(
    *,
    kind: str,
    directory: Path,
    output: Path,
    name: str | None,
    strategy: str | None,
    target: str,
    gpu: bool,
    dtype: str | None,
    prompt_name: str | None,
    instances: int,
    threads: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write DIR as a model of NVIDIA's Triton.

    Text in, vector out, in the model repository REPO. The server's Python needs poolfold.
    """
    from poolfold.triton.repository import Deployment, write_repository

    console = Console(as_json=as_json, quiet=quiet)
    with console.waiting("deploy"):
        asked = Deployment(name, strategy, target, dtype, gpu, prompt_name, instances, threads)
        written = write_repository(directory, output, asked, force=force)
    for model in written.models:
        console.line(str(model))
    console.line(f"ask {written.name}; start it with: tritonserver --model-repository={output}")
    console.json({"kind": kind, "model": written.name, "models": [str(model) for model in written.models]})
