"""`poolfold embed`: the texts of a file, by line or by record -> a NumPy file of vectors."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
import numpy.typing as npt

import poolfold
from exporter.commands import flags
from exporter.host.console import Console, count
from exporter.host.text_column import read_texts_or_column
from exporter.host.text_file import STREAM
from poolfold.encoder import PRECISIONS
from poolfold.errors import InputError
from poolfold.sessions.user_cache import write_whole


@flags.defaults_of(poolfold.load)
@flags.defaults_of(poolfold.Encoder.encode)
@click.command(
    epilog=flags.examples(
        "poolfold embed artifacts/minilm -i texts.txt -o vectors.npy",
        "poolfold embed artifacts/minilm --strategy cls -i reviews.csv -o vectors.npy",
    )
)
@flags.artifact
@click.option(
    "-i",
    "--input",
    "source",
    type=flags.FOLDER,
    required=True,
    metavar="FILE",
    help="Texts: one a record in .csv, .tsv, .jsonl, .parquet; one a line in .txt, .text, .md, without a suffix, and "
    "from standard input, -.",
)
@click.option(
    "--column", metavar="NAME", help="The column of the texts.  [default: text, sentence, body, or the only one]"
)
@click.option(
    "-o",
    "--output",
    type=flags.FOLDER,
    required=True,
    metavar="FILE",
    help="[texts, dim], NumPy format; -: standard output.",
)
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@click.option(
    "--strategy", "--pooling", "strategy", type=flags.Pooling(), metavar="S",
    help="A strategy of DIR.  [default: the trained one]",
)  # fmt: skip
@click.option("--target", type=flags.TARGETS, help="What runs the graph.")
@flags.provider
@click.option("--dtype", type=flags.DTYPES, help="Precision to run in.  [default: fp32 where DIR has it]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Texts at once.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Of a value: int8 and uint8 in 255 steps, binary and ubinary its sign, eight in a byte.",
)
@click.option(
    "--dimensions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the first N values, of unit length again (Matryoshka).",
)
@click.option("--prompt-name", metavar="NAME", help="A prompt that the model brings, such as 'query'.")
@flags.threads
@flags.as_json
@flags.quiet
def embed(
    *,
    directory: Path,
    source: Path,
    column: str | None,
    output: Path,
    force: bool,
    strategy: str | None,
    target: str,
    provider: str,
    dtype: str | None,
    batch_size: int,
    precision: str,
    dimensions: int | None,
    prompt_name: str | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Embed the texts of a file, one vector a text."""
    console = Console(as_json=as_json, quiet=quiet)
    if output == STREAM:
        _require_stream(as_json)
    else:
        _require_writable(output, source, directory, force)
    texts = read_texts_or_column(source, column)
    with console.waiting("load"):
        loaded = poolfold.load(
            directory, strategy=strategy, target=target, dtype=dtype, threads=threads, provider=provider
        )
    with loaded as encoder:
        with console.stage("embed") as stage, warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: stage.warn(str(message))
            vectors = encoder.encode(
                texts,
                batch_size=batch_size,
                precision=precision,
                dimensions=dimensions,
                prompt_name=prompt_name,
                progress=lambda done: stage.progress(done, len(texts), f"{done} of {len(texts)} texts"),
            )
            stage.outcome = f"{count(len(vectors), 'text')}, {encoder.strategy} {encoder.dtype} on {encoder.target}"
        if output == STREAM:
            _write(sys.stdout.buffer, vectors)
            return
        _save(output, vectors)
        console.line(f"{output}: {vectors.dtype} {list(vectors.shape)}")
        console.json(
            {
                "output": str(output),
                "texts": len(vectors),
                "dim": encoder.dim if dimensions is None else dimensions,
                "precision": precision,
                "strategy": encoder.strategy,
                "dtype": encoder.dtype,
                "target": encoder.target,
            }
        )


def _require_stream(as_json: bool) -> None:
    """Standard output takes the vectors alone, and no terminal shows them."""
    if as_json:
        raise InputError("-o - writes the vectors to standard output, and --json an object. Leave one of them out.")
    if sys.stdout.isatty():
        raise InputError("-o - writes a NumPy file, which a terminal cannot show. Redirect it, or name a FILE with -o.")


def _require_writable(output: Path, source: Path, directory: Path, force: bool) -> None:
    """Find out before the work, not after it; and let nothing be lost that is there."""
    if output.is_dir():
        raise InputError(f"{output} is a directory; expected a file name such as vectors.npy.")
    if output.exists() and not output.is_file():
        raise InputError(f"{output} is no regular file; expected a file name such as vectors.npy.")
    if output.exists() and source != STREAM and source.exists() and output.samefile(source):
        raise InputError(f"{output} is the input itself. Write elsewhere with -o.")
    if output.exists() and not force:
        raise InputError(f"{output} exists. Write elsewhere with -o, or pass --force to replace it.")
    if output.suffix.lower() not in (".npy", ""):
        raise InputError(f"{output} has the suffix {output.suffix!r}; expected .npy, the format that is written.")
    if output.resolve().is_relative_to(directory.resolve()):
        raise InputError(f"{output} lies in the artifact {directory}, which holds its own files only. Write elsewhere.")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a directory. Make it first, or write elsewhere with -o.")
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"{output.parent} is not writable. Write elsewhere with -o.")


def _save(output: Path, vectors: npt.NDArray[Any]) -> None:
    """Write the vectors, whole or not at all."""
    try:
        write_whole(output, lambda file: _write(file, vectors))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(f"No room to write {output} ({error.strerror}). Free some, or write elsewhere.") from None
        raise InputError(f"{output} cannot be written ({error.strerror}). Write elsewhere with -o.") from None


def _write(file: BinaryIO, vectors: npt.NDArray[Any]) -> None:
    # Not np.save: where a write fails it loses the reason.
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(vectors))
    file.write(vectors.data)
