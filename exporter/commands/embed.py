"""`poolfold embed`: texts of files, by line or by record -> a NumPy file of vectors, or a folder of Parquet parts."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
import numpy.typing as npt

import poolfold
from exporter.bulk.job import Job
from exporter.commands import flags
from exporter.host.console import Console, Stage, count
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
        "poolfold embed artifacts/minilm -i 'texts/*.parquet' -o vectors",
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
    "from standard input, -. For a folder of parts a pattern too, such as 'texts/*.parquet'.",
)
@click.option(
    "--column", metavar="NAME", help="The column of the texts.  [default: text, sentence, body, or the only one]"
)
@click.option(
    "-o",
    "--output",
    type=flags.FOLDER,
    required=True,
    metavar="FILE|DIR",
    help="A .npy file, [texts, dim]; -: that on standard output. Without a suffix, a folder of Parquet parts: the same "
    "command again goes on where it was ended.",
)
@click.option("--force", is_flag=True, help="Replace FILE where it exists; begin anew in a folder of another job.")
@click.option(
    "--id-column", metavar="NAME", help="The column of ids, for a folder.  [default: the file and the row's number]"
)
@click.option(
    "--engine",
    type=click.Choice(("stream", "ray")),
    default="stream",
    show_default=True,
    help="For a folder. stream: this process; ray: workers on a Ray cluster, which is started here if there is none.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Of --engine ray, each with --threads.  [default: 1]")
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
@click.option("--prompt", metavar="TEXT", help="A prompt in its own words instead.")
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
    id_column: str | None,
    engine: str,
    workers: int | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Embed the texts of a file, one vector a text."""
    console = Console(as_json=as_json, quiet=quiet)
    job = Job(directory, column, id_column, threads=threads, **options)
    if job.prompt is not None and job.prompt_name is not None:
        raise InputError("--prompt and --prompt-name are both given. Leave one out.")
    if output == STREAM or (output.suffix and not output.is_dir()):
        for option, value in (("--id-column", id_column), ("--workers", workers)):
            if value is not None:
                raise InputError(f"{option} is for a folder of parts; -o {output} is a file. Leave one of them out.")
        if engine != "stream":
            raise InputError(f"--engine {engine} writes a folder of parts; -o {output} is a file. Name a folder.")
        _into_file(console, job, source, output, force)
    else:
        if workers is not None and engine != "ray":
            raise InputError("--workers are those of --engine ray. Leave it out, or add the engine.")
        _into_folder(console, job, source, output, force, engine, workers or 1)


def _into_file(console: Console, job: Job, source: Path, output: Path, force: bool) -> None:
    if output == STREAM:
        _require_stream(console.as_json)
    else:
        _require_writable(output, source, job.directory, force)
    texts = read_texts_or_column(source, job.column)
    with console.waiting("load"):
        loaded = poolfold.load(**job.load(), threads=job.threads)
    with loaded as encoder:
        with _embedding(console) as stage:
            vectors = encoder.encode(
                texts,
                **job.encode(),
                progress=lambda done: stage.progress(done, len(texts), f"{done} of {len(texts)} texts"),
            )
            stage.outcome = f"{count(len(vectors), 'text')}, {_told(encoder)}"
        if output == STREAM:
            _write(sys.stdout.buffer, vectors)
            return
        _save(output, vectors)
        console.line(f"{output}: {vectors.dtype} {list(vectors.shape)}")
        console.json({"output": str(output), "texts": len(vectors), **_described(job, encoder)})


def _into_folder(
    console: Console, job: Job, source: Path, output: Path, force: bool, engine: str, workers: int
) -> None:
    # pyarrow is an extra, and Ray another one.
    import pyarrow  # noqa: F401 - told before a model is loaded where it is not there

    from exporter.bulk import folder, inputs, stream

    if source == STREAM:
        raise InputError("-i - is read once, and a folder of parts may have to be taken up again. Name a file.")
    if output.resolve().is_relative_to(job.directory.resolve()):
        raise InputError(
            f"{output} lies in the artifact {job.directory}, which holds its own files only. Write elsewhere."
        )
    sources = inputs.files_of(source)
    with console.waiting("load"):
        loaded = poolfold.load(**job.load(), threads=job.threads)
    with loaded as encoder:
        if encoder.identity is None:
            raise InputError(f"{job.directory} does not tell what its vectors depend on. Export the model again.")
        with folder.opened(output, job, encoder.identity, sources, force=force) as parts, _embedding(console) as stage:

            def tell(share: float, done: int) -> None:
                stage.progress(share, 1.0, count(done, "part" if engine == "ray" else "text"))

            if engine == "ray":
                from exporter.bulk import on_ray

                made = on_ray.embed_all(job, parts, sources, workers, job.threads or 1, tell)
                stage.outcome = f"{count(made, 'part')} now, {_told(encoder)}, {count(workers, 'worker')}"
            else:
                made = stream.embed_all(encoder, job, parts, sources, tell)
                stage.outcome = f"{count(made, 'text')} now, {_told(encoder)}"
            rows, files = parts.rows()
        console.line(f"{output}: {count(rows, 'row')} in {count(files, 'part')}")
        console.json({"output": str(output), "texts": rows, "parts": files, **_described(job, encoder)})


@contextmanager
def _embedding(console: Console) -> Iterator[Stage]:
    """The stage, with the encoder's warnings in it."""
    with console.stage("embed") as stage, warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: stage.warn(str(message))
        yield stage


def _told(encoder: poolfold.Encoder) -> str:
    return f"{encoder.strategy} {encoder.dtype} on {encoder.target}"


def _described(job: Job, encoder: poolfold.Encoder) -> dict[str, Any]:
    return {
        "dim": encoder.dim if job.dimensions is None else job.dimensions,
        "precision": job.precision,
        "strategy": encoder.strategy,
        "dtype": encoder.dtype,
        "target": encoder.target,
    }


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
    if output.suffix.lower() != ".npy":
        raise InputError(
            f"{output} has the suffix {output.suffix!r}; expected .npy, the format that is written, or none for a "
            "folder of Parquet parts."
        )
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
