"""`poolfold serve`: artifacts over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import poolfold
from exporter.commands import flags
from exporter.host.console import Console
from poolfold.serve.limits import Limits

if TYPE_CHECKING:
    from poolfold.serve.models import Served


@flags.defaults_of(poolfold.load)
@flags.defaults_of(Limits)
@click.command(
    epilog=flags.examples(
        "poolfold serve artifacts/minilm",
        "poolfold serve artifacts/minilm --strategy cls --host 0.0.0.0 --port 8000",
    )
)
@click.argument("artifacts", nargs=-1, required=True, metavar="DIR...")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0: every one.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free.")
@click.option(
    "--strategy", "--pooling", "strategies", type=flags.Pooling(), multiple=True, metavar="S",
    help="A strategy of each DIR. Repeat.  [default: the trained one]",
)  # fmt: skip
@click.option("--target", type=flags.TARGETS, help="What runs the graph.")
@flags.provider
@click.option("--dtype", type=flags.DTYPES, help="Precision to run in.  [default: fp32 where DIR has it]")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Batches computed at once, by threads that share one session and its weights.  [default: 1 for 4 cores]",
)
@flags.threads
@click.option("--max-texts", "texts", type=click.IntRange(min=1), help="Of a request.")
@click.option("--max-bytes", "bytes", type=click.IntRange(min=64), help="Of a request's body.")
@click.option("--max-tokens", "tokens", type=click.IntRange(min=1), help="Of a request.")
@click.option(
    "--max-waiting",
    "waiting",
    type=click.IntRange(min=1),
    help="Tokens of all requests that wait; beyond it the answer is 429.",
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that a request may take.",
)
@click.option(
    "--truncate/--no-truncate",
    help="Cut texts of more tokens than the model reads; else the answer is 413.",
)
@click.option("--api-key-file", type=flags.FOLDER, metavar="FILE", help="A key a line.  [default: POOLFOLD_API_KEY]")
@click.option("--tls-certificate", type=flags.FOLDER, metavar="FILE", help="PEM, for HTTPS.")
@click.option("--tls-key", type=flags.FOLDER, metavar="FILE", help="Its key, PEM.")
@flags.as_json
@flags.quiet
def serve(
    *,
    artifacts: tuple[str, ...],
    host: str,
    port: int,
    strategies: tuple[str, ...],
    target: str,
    provider: str,
    dtype: str | None,
    workers: int | None,
    threads: int | None,
    api_key_file: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    as_json: bool,
    quiet: bool,
    **limits: Any,
) -> None:
    """Serve artifacts over HTTP.

    OpenAI's /v1/embeddings and text-embeddings-inference's routes; /docs lists them. DIR is a directory or a hub id,
    or NAME=DIR to choose the name by which requests call it.

    SIGTERM and Ctrl-C finish what was taken, and end it. SIGHUP reads artifacts, keys and certificates again.
    """
    # What it is built on is an extra, and takes a while to import.
    from poolfold.serve.serve import Computing, Place
    from poolfold.serve.serve import serve as run

    console = Console(as_json=as_json, quiet=quiet)

    def ready(url: str, served: Sequence[Served]) -> None:
        for one in served:
            encoder = one.encoder
            console.line(f"{one.listed}: {encoder.strategy} {encoder.dtype} on {encoder.target}, {encoder.dim} values")
        console.line(f"{url}/v1/embeddings; {url}/docs lists the rest")
        console.json({"url": url, "models": [one.listed for one in served]})

    run(
        artifacts,
        Place(host, port, api_key_file, tls_certificate, tls_key),
        Computing(strategies, target, dtype, provider, workers, threads),
        Limits(**limits),
        quiet=quiet,
        ready=ready,
    )
