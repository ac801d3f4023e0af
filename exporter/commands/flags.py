"""The flags that several commands share, and how their values are read. No large library is imported here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from exporter.host.console import Console
from exporter.spec.build_options import HARDWARE
from exporter.spec.model import DType
from exporter.spec.names import DTYPE_WORDS, TARGET_WORDS, read_name, read_pooling
from exporter.spec.origin import TokenizerSource
from poolfold.errors import InputError
from poolfold.hub import find_artifact, require_own_place
from poolfold.manifest import MANIFEST_NAME, no_artifact
from poolfold.sessions import targets
from poolfold.sessions.ort_providers import PROVIDERS

_LARGEST_DIMENSION = 2**16
"""More rows or tokens than any engine takes at once."""


class Triple(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """`MIN:OPT:MAX`, three positive integers in order."""

    name = "MIN:OPT:MAX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        """Read the three numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(":")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
            alone = f". Write 1:{value}:{value}?" if str(value).isascii() and str(value).isdecimal() else ""
            self.fail(f"got {value!r}, expected MIN:OPT:MAX, three positive integers such as 1:8:64{alone}", param, ctx)
        low, opt, high = (int(part) for part in parts)
        if not 1 <= low <= opt <= high:
            self.fail(f"got {value!r}, expected 1 <= MIN <= OPT <= MAX", param, ctx)
        if high > _LARGEST_DIMENSION:
            self.fail(f"got {value!r}, expected at most {_LARGEST_DIMENSION}", param, ctx)
        return low, opt, high


class Buckets(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """`32,64,128`, rising lengths; or `auto`."""

    name = "N,N,...|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...] | str:
        """Read the lengths."""
        if isinstance(value, tuple):
            return value
        if value == "auto":
            return "auto"
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isascii() and part.isdecimal() for part in parts):
            self.fail(f"got {value!r}, expected lengths such as 32,64,128, or auto", param, ctx)
        return tuple(int(part) for part in parts)


class Names(click.Choice):  # type: ignore[type-arg]  # generic only in the newest click
    """One of several names, in any case; where it is another, the message says which was probably meant."""

    def __init__(self, names: Iterable[str], words: Mapping[str, str] = MappingProxyType({})) -> None:
        """Take the names, and other tools' words for them."""
        super().__init__(tuple(names), case_sensitive=False)
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a name."""
        try:
            return read_name(str(value), self.choices, self._words, _option(param))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Pooling(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """A strategy, several joined by `+`, or `trained`."""

    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read its name."""
        try:
            return read_pooling(str(value), _option(param))
        except InputError as error:
            self.fail(str(error), param, ctx)


class NamedText(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """`NAME=TEXT`: a prompt and its name."""

    name = "NAME=TEXT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read both; the text may hold further signs of equality."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not (name.strip() and equals and text):
            self.fail(f"got {value!r}, expected NAME=TEXT, such as query='query: '", param, ctx)
        return name, text


def by_name(given: Iterable[tuple[str, str]], option: str) -> Mapping[str, str]:
    """The texts of a repeated `NAME=TEXT`, by name.

    Raises:
        InputError: a name twice.
    """
    texts: dict[str, str] = {}
    for name, text in given:
        if texts.setdefault(name, text) != text:
            raise InputError(f"{option} {name} is given twice, as {texts[name]!r} and as {text!r}. Leave one out.")
    return texts


def _option(param: click.Parameter | None) -> str:
    """As it is mostly written: the first of its long forms."""
    return next((name for name in param.opts if name.startswith("--")), "") if param is not None else ""


def defaults_of(function: Callable[..., object]) -> Callable[[click.Command], click.Command]:
    """Give each option of a command the default that the function's signature has for the parameter of its name."""
    parameters = inspect.signature(function).parameters

    def apply(command: click.Command) -> click.Command:
        for option in command.params:
            parameter = parameters.get(option.name or "")
            # An empty default means the same as no option; a command may read its values in another way, as of a file.
            if parameter is not None and parameter.default not in (inspect.Parameter.empty, None, ()):
                given = parameter.default
                option.default = ":".join(map(str, given)) if isinstance(option.type, Triple) else given
        return command

    return apply


revision = click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")


def examples(*lines: str) -> str:
    """The last part of a help page."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


FOLDER = click.Path(path_type=Path)
TARGETS = Names((target.name for target in targets.TARGETS), TARGET_WORDS)
ENGINES = Names((target.name for target in targets.TARGETS if target.has_engine_files), TARGET_WORDS)
DTYPES = Names((dtype.value for dtype in DType), DTYPE_WORDS)
GRAPH_DTYPES = Names(targets.find_target("onnxruntime").dtypes, DTYPE_WORDS)
"""Those whose graphs are run as they are."""
texts = click.option("--texts", type=FOLDER, metavar="FILE", help="Your own texts, one a line, UTF-8: checked too.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Print the result, warnings and errors only.")
threads = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Threads of a session.  [default: POOLFOLD_THREADS, or the cores allowed]",
)
_SECONDS = click.option(
    "--validate-seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="About what validation takes; texts are proven as long as that allows.  [default: 120]",
)
_LENGTH = click.option(
    "--validate-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Prove texts of up to N tokens instead, whatever it takes.",
)


def proving(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that say how much is proven."""
    return _SECONDS(_LENGTH(command))


provider = click.option(
    "--provider",
    type=Names(PROVIDERS),
    help="What onnxruntime runs on; the others need an NVIDIA GPU.",
)
pickle = click.option("--allow-pickle", is_flag=True, help="Load pickled weights (*.bin): only from who you trust.")
remote = click.option("--trust-remote-code", is_flag=True, help="Run Python code that the checkpoint brings along.")
tokenizer = click.option(
    "--tokenizer",
    type=Names(source.value for source in TokenizerSource),
    default=TokenizerSource.FILE.value,
    help="Whose ids to take where they differ: tokenizer.json as published, or the installed transformers'.",
)


def artifact(command: Callable[..., None]) -> Callable[..., None]:
    """The argument DIR, a directory or a hub id, and its revision; the command gets the directory."""

    @click.argument("directory", type=FOLDER, metavar="DIR")
    @revision
    @functools.wraps(command)
    def run(directory: Path, revision: str | None = None, **options: Any) -> None:
        # For a directory there is nothing to wait for.
        with Console(quiet=options.get("quiet", False) or directory.exists()).waiting("find"):
            place = find_artifact(directory, revision)
        if not (place / MANIFEST_NAME).exists():
            raise no_artifact(place)
        require_own_place(directory, place, options.get("output", ""))
        command(directory=place, **options)

    return run


def building(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that say how engines are built."""
    for option in reversed(_BUILDING):
        command = option(command)
    return command


_BUILDING = (
    click.option("--batch", type=Triple(), help="Batch sizes an engine accepts and is tuned for."),
    click.option(
        "--seq-len", type=Triple(), help="Sequence lengths an engine accepts.  [default: 1:128:(the model's limit)]"
    ),
    click.option(
        "--buckets",
        metavar="N,N,...|auto",
        type=Buckets(),
        help="One profile for each range of lengths, instead of --seq-len; auto: from the lengths of --texts.",
    ),
    click.option("--builder-level", type=click.IntRange(0, 5), help="tensorrt: 0 builds fastest, 5 runs fastest."),
    click.option(
        "--workspace", "workspace_gib", type=click.FloatRange(min=0, min_open=True), metavar="GIB",
        help="GPU memory that a layer may take.  [default: all]",
    ),
    click.option("--version-compatible", is_flag=True, help="tensorrt: later releases of its major version load it."),
    click.option(
        "--hardware-compatibility", type=Names(HARDWARE), help="tensorrt: GPUs that may run it."
    ),
    click.option(
        "--compute-capability", "compute_capabilities", multiple=True, metavar="N.N",
        help="tensorrt-rtx: GPUs to build for. Repeat.  [default: 8.0, 8.6, 8.9 and 12.0]",
    ),
    click.option("--strip-weights", is_flag=True, help="tensorrt: leave the weights to the graph that lies beside it."),
)  # fmt: skip
