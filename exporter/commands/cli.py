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

from exporter.commands import flags
from exporter.host.console import Console
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
_OF_REPORT = ("jinja2", "matplotlib")
_OF_COMPARE = ("datasets", "pyarrow", "pytrec_eval", "scipy", "sklearn")
_OF_DISTILL = ("accelerate", "sentence_transformers")
_EXTRAS = {
    **dict.fromkeys(_OF_EXPORT, "export"),
    **dict.fromkeys(_OF_REPORT, "report"),
    **dict.fromkeys(_OF_COMPARE, "compare"),
    **dict.fromkeys(_OF_DISTILL, "distill"),
    "tensorrt_rtx": "tensorrt-rtx",
    "tensorrt": "tensorrt",
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


@cli.command(
    epilog=flags.examples(
        "poolfold export sentence-transformers/all-MiniLM-L6-v2 -o artifacts/minilm",
        "poolfold export ./checkpoint -o out --pooling cls --pooling mean --dtype fp16 --target tensorrt-rtx",
    )
)
@click.argument("model")
@click.option("-o", "--output", type=flags.FOLDER, required=True, metavar="DIR", help="The artifact: a new directory.")
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
    type=flags.DTYPES,
    multiple=True,
    default=["fp32"],
    help="Precision of a graph; bf16: how openvino executes the fp32 one. Repeat for several.",
)
@click.option("--target", type=flags.TARGETS, multiple=True, default=["onnxruntime"], help="Repeat for several.")
@flags.building
@flags.texts
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="Keep the first N values (Matryoshka).")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@click.option("--force", is_flag=True, help="Replace a DIR that is not empty, once everything has succeeded.")
@click.option("--skip-latency", is_flag=True, help="Leave out the latency and memory stage.")
@flags.threads
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def export(**options: Any) -> None:
    """Export MODEL (hub id, folder, .onnx file) into DIR: graphs, engines, and the proof that they give its vectors."""
    from exporter.commands.export import run

    run(**options)


@cli.command(
    epilog=flags.examples(
        "poolfold build artifacts/minilm --target tensorrt-rtx",
        "poolfold build artifacts/minilm --target tensorrt --buckets auto --texts mine.txt -o artifacts/minilm-l4",
    )
)
@click.argument("directory", type=flags.FOLDER, metavar="DIR")
@click.option("--target", type=flags.ENGINES, multiple=True, required=True, help="Repeat for both.")
@click.option("-o", "--output", type=flags.FOLDER, metavar="DIR", help="Where the result goes.  [default: over DIR]")
@click.option("--strategy", multiple=True, metavar="S", help="Of DIR's. Repeat.  [default: all]")
@click.option("--dtype", type=flags.DTYPES, multiple=True, help="Of DIR's. Repeat.  [default: all that the target has]")
@flags.building
@click.option("--texts", type=flags.FOLDER, metavar="FILE", help="Your own texts, one a line, UTF-8, for --buckets.")
@click.option("--force", is_flag=True, help="Replace a directory named by -o that is not empty.")
@flags.as_json
@flags.quiet
def build(**options: Any) -> None:
    """Build engines from the graphs of DIR, an artifact made here or elsewhere, and add them to it."""
    from exporter.commands.build import run

    run(**options)


@cli.command(
    epilog=flags.examples(
        "poolfold validate artifacts/minilm", "poolfold validate artifacts/minilm --texts mine.txt --json"
    )
)
@click.argument("directory", type=flags.FOLDER, metavar="DIR")
@click.option("--target", type=flags.TARGETS, default="onnxruntime", help="Check what runs on this target.")
@flags.provider
@flags.texts
@click.option("--model", metavar="MODEL", help="Where the model is now.  [default: where it was exported from]")
@flags.threads
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def validate(**options: Any) -> None:
    """Check what DIR runs on a target again: against the model it came from, through the loader that ships."""
    from exporter.commands.validate import run

    run(**options)


@cli.command(
    epilog=flags.examples("poolfold bench artifacts/minilm", "poolfold bench artifacts/minilm --threads 1 --seconds 30")
)
@click.argument("directory", type=flags.FOLDER, metavar="DIR")
@click.option("--target", type=flags.TARGETS, default="onnxruntime", help="Measure what runs on this target.")
@flags.provider
@click.option("--seconds", type=click.IntRange(min=1), default=60, help="About how long to measure.")
@click.option("--model", metavar="MODEL", help="Where the model is now.  [default: where it was exported from]")
@flags.threads
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def bench(**options: Any) -> None:
    """Measure latency, throughput and peak memory of what DIR runs on a target against its model, interleaved."""
    from exporter.commands.bench import run

    run(**options)


@cli.command(
    epilog=flags.examples(
        "poolfold compare sentence-transformers/all-MiniLM-L6-v2 --data pairs.tsv -o report",
        "poolfold compare artifacts/minilm --data corpus/ --json",
    )
)
@click.argument("model", metavar="MODEL|DIR")
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="Pairs with scores, labelled texts or bare texts (.csv, .tsv, .jsonl, .parquet, .txt), a folder in BEIR's "
    "layout, or a data set's hub id.",
)
@click.option(
    "--kind",
    type=click.Choice(["pairs", "retrieval", "labels", "texts"]),
    help="What DATA is.  [default: by its columns]",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "tsv", "jsonl", "parquet", "txt"]),
    help="How it is written.  [default: by its suffix]",
)
@click.option(
    "--columns", metavar="A,B,...", help="Two texts and a score; text and label; or text.  [default: their usual names]"
)
@click.option(
    "--pooling", multiple=True, metavar="S", help="Repeat.  [default: the trained one, cls, mean and max; all of DIR's]"
)
@click.option(
    "--dtype",
    type=click.Choice(["fp32", "fp16"]),
    multiple=True,
    default=["fp32", "fp16"],
    help="The verdict goes by the first.",
)
@click.option(
    "-o", "--output", type=flags.FOLDER, metavar="DIR", help="Report and what was made for it.  [default: user's cache]"
)
@click.option(
    "--against",
    multiple=True,
    metavar="MODEL|DIR",
    help="Another model, such as a distilled one; its trained strategy takes part. Repeat.",
)
@click.option("--seconds", type=click.IntRange(min=1), default=40, help="About how long to time.")
@click.option("--skip-cost", is_flag=True, help="Leave out speed and memory.")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@flags.threads
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def compare(**options: Any) -> None:
    """Compare pooling strategies on your data: quality with intervals, speed, memory, and which one to take."""
    from exporter.commands.compare import run

    run(**options)


@cli.command(
    epilog=flags.examples("poolfold report artifacts/minilm", "poolfold report artifacts/minilm -o public/minilm")
)
@click.argument("directory", metavar="DIR", type=flags.FOLDER)
@click.option("-o", "--output", type=flags.FOLDER, metavar="FOLDER", help="[default: DIR-report, beside DIR]")
@flags.as_json
@flags.quiet
def report(**options: Any) -> None:
    """Write an artifact's own parity and latency as an HTML page, with its plots beside it."""
    from exporter.commands.report import run

    run(**options)


@cli.command(
    epilog=flags.examples(
        "poolfold distill sentence-transformers/all-MiniLM-L6-v2 --texts texts.txt -o minilm-cls",
        "poolfold distill minilm --to cls --from mean --texts texts.txt --other german.txt --steps 500 -o minilm-cls",
    )
)
@click.argument("model")
@click.option("--to", default="cls", metavar="S", help="The strategy that learns.")
@click.option("--from", "teacher", default="trained", metavar="S", help="The strategy whose vectors it learns.")
@click.option("--texts", type=flags.FOLDER, required=True, metavar="FILE", help="What to learn from, one text a line.")
@click.option("--data", metavar="PAIRS", help="Scored pairs to learn from as well, as `compare` reads them.")
@click.option(
    "--other",
    type=flags.FOLDER,
    multiple=True,
    metavar="FILE",
    help="Texts of another domain or language, to report on. Repeat.",
)
@click.option("-o", "--output", type=flags.FOLDER, required=True, metavar="CHECKPOINT", help="What is written.")
@click.option("--steps", type=click.IntRange(min=1), default=250, help="Batches at most.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Texts in a batch.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-4, help="At its highest.")
@click.option("--evaluate", type=click.IntRange(min=1), default=25, help="Batches between looks at held-out texts.")
@click.option("--patience", type=click.IntRange(min=1), default=3, help="Looks without progress before it stops.")
@click.option("--seed", type=int, default=0, help="Of the order of texts.")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@click.option("--force", is_flag=True, help="Replace CHECKPOINT, and an unfinished training of another kind.")
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def distill(**options: Any) -> None:
    """Teach one pooling, such as cls, to give another's vectors; writes a sentence-transformers checkpoint."""
    from exporter.commands.distill import run

    run(**options)


@cli.command(
    epilog=flags.examples(
        "poolfold embed artifacts/minilm -i texts.txt -o vectors.npy",
        "poolfold embed artifacts/minilm --strategy cls --dtype fp16 -i texts.txt -o vectors.npy",
    )
)
@click.argument("directory", type=flags.FOLDER, metavar="DIR")
@click.option(
    "-i", "--input", "source", type=flags.FOLDER, required=True, metavar="FILE", help="Texts, one a line, UTF-8."
)
@click.option(
    "-o", "--output", type=flags.FOLDER, required=True, metavar="FILE", help="float32 [texts, dim], NumPy format."
)
@click.option("--strategy", metavar="S", help="A strategy of DIR.  [default: the trained one]")
@click.option("--target", type=flags.TARGETS, default="onnxruntime", help="What runs the graph.")
@flags.provider
@click.option("--dtype", type=flags.DTYPES, help="Precision to run in.  [default: fp32 where DIR has it]")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Texts at once.")
@click.option("--prompt-name", metavar="NAME", help="A prompt that the model brings, such as 'query'.")
@flags.threads
@flags.as_json
@flags.quiet
def embed(**options: Any) -> None:
    """Embed the texts of a file, one vector a line."""
    from exporter.commands.embed import run

    run(**options)


@cli.command(
    epilog=flags.examples(
        "poolfold inspect artifacts/minilm --json", "poolfold inspect artifacts/minilm/onnx/mean_fp16.onnx"
    ),
)
@click.argument("subject", metavar="MODEL|DIR|FILE.onnx")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@flags.pickle
@flags.remote
@flags.as_json
def inspect(**options: Any) -> None:
    """Say what a checkpoint, an artifact or a graph is."""
    from exporter.commands.inspect import run

    run(**options)


@cli.command(epilog=flags.examples("poolfold verify artifacts/minilm", "poolfold verify artifacts/minilm --json"))
@click.argument("directory", type=flags.FOLDER, metavar="DIR")
@flags.as_json
def verify(**options: Any) -> None:
    """Check every file of DIR against its manifest."""
    from exporter.commands.verify import run

    run(**options)


@cli.command(epilog=flags.examples("poolfold targets", "poolfold targets --json"))
@flags.as_json
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
