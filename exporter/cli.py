"""The command line: parse, call one function, render. Exit codes and the last word on errors.

Only click is imported here, so that `--help` is instant and a light install can still verify, embed and list targets.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

import click

from exporter.console import Console
from poolfold.errors import PoolfoldError

EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3

# Which extra brings a library that a light install lacks.
_OF_EXPORT = (
    *("torch", "transformers", "onnx", "onnx_ir", "onnxscript"),
    *("huggingface_hub", "safetensors", "psutil", "sympy", "tqdm"),
)
_EXTRAS = {**dict.fromkeys(_OF_EXPORT, "export"), "tensorrt_rtx": "tensorrt-rtx"}

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_EXIT_CODES = """\b
Exit codes: 0 done and every check passed; 1 it ran and a check failed; 2 bad input or usage; 3 target not available
here; 70 a bug (POOLFOLD_DEBUG=1 shows the traceback); 130 interrupted."""


_LARGEST_DIMENSION = 2**16
"""More rows or tokens than any engine takes at once."""


class _Range(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """`MIN:OPT:MAX`, three positive integers in order."""

    name = "MIN:OPT:MAX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        """Read the three numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(":")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
            self.fail(f"got {value!r}, expected three positive integers such as 1:8:64", param, ctx)
        low, opt, high = (int(part) for part in parts)
        if not 1 <= low <= opt <= high:
            self.fail(f"got {value!r}, expected 1 <= MIN <= OPT <= MAX", param, ctx)
        if high > _LARGEST_DIMENSION:
            self.fail(f"got {value!r}, expected at most {_LARGEST_DIMENSION}", param, ctx)
        return low, opt, high


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


_OVERVIEW = _examples(
    "poolfold export sentence-transformers/all-MiniLM-L6-v2 -o artifacts/minilm",
    "poolfold embed artifacts/minilm -i texts.txt -o vectors.npy",
)
_FOLDER = click.Path(path_type=Path)
_TARGETS = click.Choice(["onnxruntime", "openvino", "tensorrt-rtx"])
_DTYPES = click.Choice(["fp32", "fp16", "bf16"])
_provider = click.option(
    "--provider",
    type=click.Choice(["cpu", "cuda", "tensorrt", "tensorrt-rtx"]),
    default="cpu",
    help="What onnxruntime computes with.",
)
_texts = click.option("--texts", type=_FOLDER, metavar="FILE", help="Your own texts, one a line, UTF-8: checked too.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print the result, warnings and errors only.")
_threads = click.option("--threads", type=click.IntRange(1, 1024), help="Threads of a session.  [default: one a core]")
_pickle = click.option("--allow-pickle", is_flag=True, help="Load pickled weights (*.bin): only from who you trust.")
_remote = click.option("--trust-remote-code", is_flag=True, help="Run Python code that the checkpoint brings along.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 120},
    epilog=f"{_EXIT_CODES}\n\n{_OVERVIEW}",
)
@click.version_option(package_name="poolfold")
def cli() -> None:
    """Turn a sentence-embedding checkpoint into validated artifacts, with the pooling folded into the graph."""


@cli.command(
    epilog=_examples(
        "poolfold export sentence-transformers/all-MiniLM-L6-v2 -o artifacts/minilm",
        "poolfold export ./checkpoint -o out --pooling cls --pooling mean --dtype fp16 --target tensorrt-rtx",
    )
)
@click.argument("model")
@click.option("-o", "--output", type=_FOLDER, required=True, metavar="DIR", help="The artifact: a new directory.")
@click.option(
    "--pooling",
    multiple=True,
    metavar="S",
    default=["trained"],
    help="cls, mean, max, mean_sqrt_len_tokens, weightedmean, lasttoken, or several joined by '+'; 'trained' is what "
    "the checkpoint says. Repeat for several strategies.",
)
@click.option(
    "--dtype",
    type=_DTYPES,
    multiple=True,
    default=["fp32"],
    help="Precision of a graph; bf16: how openvino executes the fp32 one. Repeat for several.",
)
@click.option("--target", type=_TARGETS, multiple=True, default=["onnxruntime"], help="Repeat for several.")
@click.option("--batch", type=_Range(), default="1:8:64", help="Batch sizes an engine accepts and is tuned for.")
@click.option(
    "--seq-len", type=_Range(), help="Sequence lengths an engine accepts.  [default: 1:128:(the model's limit)]"
)
@_texts
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="Keep the first N values (Matryoshka).")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@click.option("--force", is_flag=True, help="Replace a DIR that is not empty, once everything has succeeded.")
@click.option("--skip-latency", is_flag=True, help="Leave out the latency and memory stage.")
@_threads
@_pickle
@_remote
@_json
@_quiet
def export(**options: Any) -> None:
    """Export MODEL (hub id, folder, .onnx file) into DIR: graphs, engines, and the proof that they give its vectors."""
    from exporter.commands.export import run

    run(**options)


@cli.command(
    epilog=_examples("poolfold validate artifacts/minilm", "poolfold validate artifacts/minilm --texts mine.txt --json")
)
@click.argument("directory", type=_FOLDER, metavar="DIR")
@click.option("--target", type=_TARGETS, default="onnxruntime", help="Check what runs on this target.")
@_provider
@_texts
@click.option("--model", metavar="MODEL", help="Where the model is now.  [default: where it was exported from]")
@_threads
@_pickle
@_remote
@_json
@_quiet
def validate(**options: Any) -> None:
    """Check what DIR runs on a target again: against the model it came from, through the loader that ships."""
    from exporter.commands.validate import run

    run(**options)


@cli.command(
    epilog=_examples("poolfold bench artifacts/minilm", "poolfold bench artifacts/minilm --threads 1 --seconds 30")
)
@click.argument("directory", type=_FOLDER, metavar="DIR")
@click.option("--target", type=_TARGETS, default="onnxruntime", help="Measure what runs on this target.")
@_provider
@click.option("--seconds", type=click.IntRange(min=1), default=60, help="About how long to measure.")
@click.option("--model", metavar="MODEL", help="Where the model is now.  [default: where it was exported from]")
@_threads
@_pickle
@_remote
@_json
@_quiet
def bench(**options: Any) -> None:
    """Measure latency, throughput and peak memory of what DIR runs on a target against its model, interleaved."""
    from exporter.commands.bench import run

    run(**options)


@cli.command(
    epilog=_examples(
        "poolfold embed artifacts/minilm -i texts.txt -o vectors.npy",
        "poolfold embed artifacts/minilm --strategy cls --dtype fp16 -i texts.txt -o vectors.npy",
    )
)
@click.argument("directory", type=_FOLDER, metavar="DIR")
@click.option("-i", "--input", "source", type=_FOLDER, required=True, metavar="FILE", help="Texts, one a line, UTF-8.")
@click.option("-o", "--output", type=_FOLDER, required=True, metavar="FILE", help="float32 [texts, dim], NumPy format.")
@click.option("--strategy", metavar="S", help="A strategy of DIR.  [default: the trained one]")
@click.option("--target", type=_TARGETS, default="onnxruntime", help="What runs the graph.")
@_provider
@click.option("--dtype", type=_DTYPES, help="Precision to run in.  [default: fp32 where DIR has it]")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Texts at once.")
@click.option("--prompt-name", metavar="NAME", help="A prompt that the model brings, such as 'query'.")
@_threads
@_json
@_quiet
def embed(**options: Any) -> None:
    """Embed the texts of a file, one vector a line."""
    from exporter.commands.embed import run

    run(**options)


@cli.command(
    epilog=_examples(
        "poolfold inspect artifacts/minilm --json", "poolfold inspect artifacts/minilm/onnx/mean_fp16.onnx"
    ),
)
@click.argument("subject", metavar="MODEL|DIR|FILE.onnx")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@_pickle
@_remote
@_json
def inspect(**options: Any) -> None:
    """Say what a checkpoint, an artifact or a graph is."""
    from exporter.commands.inspect import run

    run(**options)


@cli.command(epilog=_examples("poolfold verify artifacts/minilm", "poolfold verify artifacts/minilm --json"))
@click.argument("directory", type=_FOLDER, metavar="DIR")
@_json
def verify(**options: Any) -> None:
    """Check every file of DIR against its manifest."""
    from exporter.commands.verify import run

    run(**options)


@cli.command(epilog=_examples("poolfold targets", "poolfold targets --json"))
@_json
def targets(**options: Any) -> None:
    """List which targets work here, their versions, and why the others do not."""
    from exporter.commands.targets import run

    run(**options)


def main() -> None:
    """Run the command line; every way out has its exit code."""
    # A command is short and what it makes lives to the end: looking for garbage often only costs time.
    gc.set_threshold(100_000, 50, 100)
    _mend_streams()
    code = run_command(sys.argv[1:])
    sys.stderr.flush()
    # All is written and every process ended; taking the libraries down in order would take a noticeable while.
    os._exit(code if _flushed(sys.stdout) else EXIT_USAGE)


def _mend_streams() -> None:
    """Take what is written whatever the streams are: a closed one (`>&-`) is None, a narrow one lacks characters."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flushed(stream: TextIO) -> bool:
    """Whether everything written to the stream went out, or its reader is gone and wants no more."""
    try:
        stream.flush()
    except BrokenPipeError:
        return True
    except OSError as error:
        sys.stderr.write(f"error: the result could not be written ({error.strerror}).\n")
        return False
    return True


def run_command(arguments: list[str]) -> int:
    """Run a command and turn its end into an exit code, with a message on stderr.

    Takes what follows `poolfold` on the command line; never raises, but for what ends the interpreter itself.
    """
    try:
        cli.main(arguments, prog_name="poolfold", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        Console().error("interrupted; nothing was published.")
        return EXIT_INTERRUPTED
    except PoolfoldError as error:
        Console().error(str(error))
        return error.exit_code
    except Exception as error:
        return _explain(error, arguments)
    return 0


def _explain(error: Exception, arguments: list[str]) -> int:
    """Say what went wrong outside poolfold's own errors, and give its exit code."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0]) if isinstance(error, ModuleNotFoundError) else None
    match error:
        case ModuleNotFoundError() if extra is not None:
            Console().error(
                f"`poolfold {arguments[0]}` needs {error.name}, which this install lacks. "
                f"Install it with: pip install 'poolfold[{extra}]'"
            )
            return EXIT_UNAVAILABLE
        case OSError() if error.errno in _FULL:
            Console().error(f"no room to write {error.filename or 'the result'} ({error.strerror}). Free some space.")
            return EXIT_USAGE
    # One line for the user; the traceback only where it was asked for.
    if os.environ.get("POOLFOLD_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    first = next(iter(str(error).splitlines()), "")
    Console().error(f"a bug in poolfold: {type(error).__name__}: {first[:300]} (POOLFOLD_DEBUG=1 shows the traceback)")
    return EXIT_BUG
