"""The command line: parse, call one function, render. Exit codes and the last word on errors.

No command imports a large library before it runs, so that `--help` is instant and a light install can still verify,
embed and list targets.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import itertools
import os
import sys
import traceback
from pathlib import Path
from typing import TextIO

import click

from exporter.commands import flags
from exporter.commands.bench import bench
from exporter.commands.build import build
from exporter.commands.compare import compare
from exporter.commands.deploy import deploy
from exporter.commands.distill import distill
from exporter.commands.embed import embed
from exporter.commands.export import export
from exporter.commands.inspect import inspect
from exporter.commands.push import push
from exporter.commands.report import report
from exporter.commands.serve import serve
from exporter.commands.targets import targets
from exporter.commands.validate import validate
from exporter.commands.verify import verify
from exporter.host.console import Console
from poolfold.errors import InputError, PoolfoldError, how_to_install
from poolfold.sessions.targets import TARGETS

EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3

# Which extra brings a library that a light install lacks.
_OF_EXPORT = (
    *("torch", "transformers", "onnx", "onnx_ir", "onnxscript"),
    *("huggingface_hub", "safetensors", "psutil", "sympy", "tqdm"),
)
_OF_REPORT = ("jinja2", "matplotlib")
_OF_BULK = ("pyarrow",)
_OF_COMPARE = ("datasets", "pytrec_eval", "scipy", "sklearn")
_OF_DISTILL = ("accelerate", "sentence_transformers")
_OF_SERVE = ("h11", "orjson", "prometheus_client", "starlette", "uvicorn")
_EXTRAS = {
    **dict.fromkeys(_OF_EXPORT, "export"),
    **dict.fromkeys(_OF_REPORT, "report"),
    **dict.fromkeys(_OF_BULK, "bulk"),
    **dict.fromkeys(_OF_COMPARE, "compare"),
    **dict.fromkeys(_OF_DISTILL, "distill"),
    **dict.fromkeys(_OF_SERVE, "serve"),
    **{library: target.extra for target in TARGETS for library in target.libraries if target.extra},
}
# What these need is more than the first library that they lack.
_EXTRAS_OF_COMMANDS = {
    "build": "build",
    "compare": "compare",
    "distill": "distill",
    "report": "report",
    "serve": "serve",
}

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_EXIT_CODES = """\
Exit codes: 0 done and every check passed; 1 it ran and a check failed; 2 bad input or usage; 3 target not available
here; 70 a bug (POOLFOLD_DEBUG=1 shows the traceback); 130 interrupted."""


_OVERVIEW = flags.examples(
    "poolfold export sentence-transformers/all-MiniLM-L6-v2 -o artifacts/minilm",
    "poolfold embed artifacts/minilm -i texts.txt -o vectors.npy",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 120},
    epilog=f"{_EXIT_CODES}\n\n{_OVERVIEW}",
)
@click.version_option(package_name="poolfold")
def cli() -> None:
    """Turn a sentence-embedding checkpoint into a validated artifact.

    An artifact is a directory: the model as graphs that give a text's vector by themselves, pooling and head folded in,
    each checked against PyTorch. It loads without PyTorch.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InputError("The working directory is not there any more. Change into one that is.") from None


for _command in (
    export,
    build,
    validate,
    bench,
    compare,
    report,
    distill,
    embed,
    serve,
    deploy,
    inspect,
    verify,
    push,
    targets,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; every way out has its exit code."""
    # A command is short and what it makes lives to the end: looking for garbage often only costs time.
    gc.set_threshold(100_000, 50, 100)
    _mend_streams()
    # A stage shows what it downloads; libraries' own bars would write over it. Other processes inherit this.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    code = run_command(sys.argv[1:])
    sys.stderr.flush()
    # All is written and every process ended; taking the libraries down in order would take a noticeable while.
    os._exit(code if _flushed(sys.stdout) else EXIT_USAGE)


def _mend_streams() -> None:
    """Make both streams writable: a closed one (`>&-`) is None, and one in ASCII lacks characters."""
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
    """Run a command and turn its end into an exit code, with a message on stderr; with --json an object on stdout too.

    Takes what follows `poolfold` on the command line; never raises, but for what ends the interpreter itself.
    """
    try:
        # A command returns nothing; the number is that of click's `Exit`.
        return int(cli.main(arguments, prog_name="poolfold", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        code, message = EXIT_USAGE, error.format_message()
    except (click.Abort, KeyboardInterrupt):
        code, message = EXIT_INTERRUPTED, "interrupted; nothing was published."
        Console().error(message)
    except PoolfoldError as error:
        code, message = error.exit_code, str(error)
        Console().error(message)
    except Exception as error:
        code, message = _explain(error, arguments)
        Console().error(message)
    options = list(itertools.takewhile(lambda argument: argument != "--", arguments))
    with contextlib.suppress(OSError):  # a full disk is an error that cannot be written there
        Console(as_json="--json" in options).json({"error": message, "exit_code": code})
    return code


def _explain(error: Exception, arguments: list[str]) -> tuple[int, str]:
    """The exit code and the message of an error that is not one of poolfold's own."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0]) if isinstance(error, ModuleNotFoundError) else None
    extra = extra and _EXTRAS_OF_COMMANDS.get(arguments[0], extra)
    match error:
        case ModuleNotFoundError() if extra is not None:
            return EXIT_UNAVAILABLE, (
                f"`poolfold {arguments[0]}` needs {error.name}, which this install lacks. "
                f"Install it with: {how_to_install(extra)}"
            )
        case OSError() if error.errno in _FULL:
            return EXIT_USAGE, (
                f"no room to write {error.filename or 'the result'} ({error.strerror}). Free some space."
            )
    # One line for the user; the traceback only where it was asked for.
    if os.environ.get("POOLFOLD_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    first = next(iter(str(error).splitlines()), "")
    return EXIT_BUG, (
        f"a bug in poolfold: {type(error).__name__}: {first[:300]} (POOLFOLD_DEBUG=1 shows the traceback)"
    )
