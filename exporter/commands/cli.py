"""The command line: parse, call one function, render. Exit codes and the last word on errors.

No command imports a large library before it runs, so that `--help` is instant and a light install can still verify,
embed and list targets.
"""

from __future__ import annotations

import errno
import gc
import io
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
from exporter.commands.distill import distill
from exporter.commands.embed import embed
from exporter.commands.export import export
from exporter.commands.inspect import inspect
from exporter.commands.report import report
from exporter.commands.targets import targets
from exporter.commands.validate import validate
from exporter.commands.verify import verify
from exporter.host.console import Console
from poolfold.errors import PoolfoldError
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
_OF_COMPARE = ("datasets", "pyarrow", "pytrec_eval", "scipy", "sklearn")
_OF_DISTILL = ("accelerate", "sentence_transformers")
_EXTRAS = {
    **dict.fromkeys(_OF_EXPORT, "export"),
    **dict.fromkeys(_OF_REPORT, "report"),
    **dict.fromkeys(_OF_COMPARE, "compare"),
    **dict.fromkeys(_OF_DISTILL, "distill"),
    **{library: target.extra for target in TARGETS for library in target.libraries if target.extra},
}
# What these need is more than the first library that they lack.
_EXTRAS_OF_COMMANDS = {"compare": "compare", "distill": "distill", "report": "report"}

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_EXIT_CODES = """\b
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
    """Turn a sentence-embedding checkpoint into validated artifacts, with the pooling folded into the graph."""


for _command in (export, build, validate, bench, compare, report, distill, embed, inspect, verify, targets):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; every way out has its exit code."""
    # A command is short and what it makes lives to the end: looking for garbage often only costs time.
    gc.set_threshold(100_000, 50, 100)
    _mend_streams()
    # A stage shows what it downloads; libraries' own bars would write over it. Other processes inherit this.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
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
    """Print an error that is not one of poolfold's own; returns its exit code."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0]) if isinstance(error, ModuleNotFoundError) else None
    extra = extra and _EXTRAS_OF_COMMANDS.get(arguments[0], extra)
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
