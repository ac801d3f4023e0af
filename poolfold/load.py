"""An artifact directory to an `Encoder`: choose strategy and dtype, verify every file, open the target's session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from poolfold.choice import Choice, choose, faster_below, only_form, run_memory
from poolfold.encoder import Encoder, Ranges, TokenVectors
from poolfold.errors import ArtifactError, InputError, is_failure
from poolfold.hub import find_artifact, lasting_name
from poolfold.manifest import MANIFEST_NAME, Manifest, Strategy, Text
from poolfold.sessions import Opening, Session
from poolfold.sessions.behind_prompt import BehindPrompt, StatesSession, folded_prompts, no_states
from poolfold.sessions.by_padding import ByPadding
from poolfold.sessions.memory import require_memory
from poolfold.sessions.ort_providers import CPU, PROVIDERS
from poolfold.sessions.targets import Target, find_target
from poolfold.sessions.threads import MOST_THREADS, default_threads
from poolfold.sessions.token_graph import open_token_graph, token_run_memory
from poolfold.tokenise import Tokenizer
from poolfold.verify import open_files, read_checked
from poolfold.verify.files import OpenFile, open_file

TOKENIZER_NAME = "tokenizer.json"


def load(
    directory: str | Path,
    strategy: str | None = None,
    target: str = "onnxruntime",
    dtype: str | None = None,
    *,
    threads: int | None = None,
    spinning: bool = True,
    provider: str = CPU,
    gpu: int = 0,
    mmap: bool = True,
    verify: bool = True,
    revision: str | None = None,
    memory: int | None = None,
) -> Encoder:
    """Load an artifact, after a check of every file in it.

    The bytes that were checked are the bytes that are used, wherever files or links lead meanwhile.

    Args:
        directory: what `poolfold export` wrote; or a hub id, `owner/name`, where there is no such directory.
        strategy: one of the artifact's; None for the one the checkpoint was trained with, or else the first.
        target: the runtime.
        dtype: one of the artifact's; None for fp32, or else the first.
        threads: threads of one run; None for POOLFOLD_THREADS, or else the cores that this process may use.
        spinning: whether ONNX Runtime's threads busy-wait between the operators of a run: faster one text at a time,
            dearer beside other work.
        provider: what ONNX Runtime computes with: `cpu`, `cuda`, `tensorrt` or `tensorrt-rtx`.
        gpu: the number of the NVIDIA GPU, counted from 0, for engines and for every provider but `cpu`.
        mmap: map the weights, so that processes share them; a call after somebody wrote to the file raises
            ArtifactError. False reads the checked bytes into this process's memory.
        verify: False for an artifact that was checked already: no file is hashed.
        revision: branch, tag or commit of a hub id.
        memory: bytes that one run of the encoder may take on a CPU besides the weights, by estimate; None for half of
            what this process may take when it runs.

    Raises:
        InputError: a strategy, dtype, target or provider that is not there, fewer threads than one, or no memory.
        ArtifactError: the directory differs from its manifest, or has nothing for the target.
        TargetUnavailable: the target cannot run here.
    """
    require_memory(memory)
    asked = _Asked(directory, strategy, target, dtype, threads, spinning, provider, gpu, mmap, verify, revision, memory)
    return _load(asked, None)


class _Asked(NamedTuple):
    """The arguments of `load`."""

    directory: str | Path
    strategy: str | None
    target: str
    dtype: str | None
    threads: int | None
    spinning: bool
    provider: str
    gpu: int
    mmap: bool
    verify: bool
    revision: str | None
    memory: int | None = None  # pickles of 0.5 have none


def _load(asked: _Asked, identity: str | None) -> Encoder:
    """As `load`. identity: what the artifact's must be, where it was loaded before."""
    record = _check_arguments(asked.target, asked.threads, asked.provider, asked.gpu)
    directory = find_artifact(asked.directory, asked.revision)
    manifest = read_checked(directory)
    content = manifest.digest(*(file.path for file in manifest.files))
    if identity not in (None, content):
        raise ArtifactError(
            f"{directory} holds another artifact than the one that an Encoder was loaded from and pickled. "
            "Load it again, and pickle that."
        )
    # Before the hashes: those of a large artifact take seconds.
    choice = choose(directory, manifest, record, asked.strategy, asked.dtype, asked.provider)
    keep = {TOKENIZER_NAME, *choice.forms.values(), *(prompt.path for prompt in manifest.folded_prompts)}
    keep |= {entry.ranges for entry in manifest.strategies if entry.name == choice.strategy and entry.ranges}
    for engine in manifest.engines:
        keep |= {engine.graph} if engine.path in keep and engine.stripped else set()
    weights = {g.weights for g in manifest.graphs if g.weights and keep & set(g.files)}
    if asked.verify:
        files = open_files(directory, manifest, read=keep if asked.mmap else keep | weights, mapped=weights)
    else:
        files = {path: open_file(directory / path) for path in keep | weights}
        for path, file in files.items():
            if path in keep or not asked.mmap:
                file.read()
    encoder = _open_encoder(
        directory,
        manifest,
        choice,
        record,
        lambda path: _checked(files, directory, path),
        threads=asked.threads,
        spinning=asked.spinning,
        provider=asked.provider,
        gpu=asked.gpu,
    )
    files.pop(TOKENIZER_NAME, None)  # the rest is there for a form that is opened later
    name, commit = lasting_name(asked.directory, directory)
    again = asked._replace(directory=name, revision=commit)
    return replace(
        encoder,
        again=partial(_load_again, tuple(again), content),
        identity=manifest.identity(choice.strategy, choice.dtype),
        validated_up_to=manifest.validated_up_to,
        memory=asked.memory,
        tokens=_token_vectors(directory, manifest, asked),
    )


def _token_vectors(directory: Path, manifest: Manifest, asked: _Asked) -> TokenVectors | None:
    """What gives the vectors of tokens; None where the artifact has no graph for them."""
    graph = manifest.portable
    if graph is None:
        return None
    opened = partial(
        open_token_graph,
        directory,
        manifest,
        graph,
        threads=asked.threads,
        spinning=asked.spinning,
        check=asked.verify,
    )
    return TokenVectors(opened, manifest.model.hidden_size, token_run_memory(manifest))


def _load_again(asked: tuple[Any, ...], identity: str) -> Encoder:
    """The encoder of a pickle; its artifact must lie where it lay, with the files that it had.

    Raises:
        ArtifactError: as `load`, and where there is no artifact, or another one.
    """
    again = _Asked(*asked)
    if again.revision is None and not Path(again.directory).is_dir():
        raise ArtifactError(
            f"{again.directory} is not on this machine; an Encoder was pickled that was loaded from it. Put the "
            "artifact there, or pass the directory's name instead of the Encoder and load it where it is used."
        )
    return _load(again, identity)


def open_encoder(
    directory: Path,
    manifest: Manifest,
    strategy: str | None = None,
    target: str = "onnxruntime",
    dtype: str | None = None,
    *,
    threads: int | None = None,
    spinning: bool = True,
    provider: str = CPU,
    gpu: int = 0,
    form: str | None = None,
) -> Encoder:
    """As `load`, for a caller that has just verified the directory, or has written it itself.

    form: `plain`, `padding-free`, `packed` or `prompted`, to run every batch on it. None: of a graph on the CPU the
    prompted one, if there is any; else the faster one each time, of plain and padding-free, or of an engine's two.
    """
    record = _check_arguments(target, threads, provider, gpu)
    choice = choose(directory, manifest, record, strategy, dtype, provider)
    return _open_encoder(
        directory,
        manifest,
        choice,
        record,
        open_file,
        threads=threads,
        spinning=spinning,
        provider=provider,
        gpu=gpu,
        form=form,
    )


def _open_encoder(
    directory: Path,
    manifest: Manifest,
    choice: Choice,
    record: Target,
    open_file: Callable[[Path], OpenFile],
    *,
    threads: int | None,
    spinning: bool,
    provider: str,
    gpu: int,
    form: str | None = None,
) -> Encoder:
    """Open what was chosen, of files that `open_file` gives."""
    strategy, dtype, forms = choice

    def open_path(path: str) -> Session:
        return record.open(Opening(directory, manifest, path, dtype, threads, spinning, provider, gpu, open_file))

    form = form if provider == CPU else form or "plain"
    session = _open_forms(directory, manifest, record, forms, form, open_path)
    chosen = next(entry for entry in manifest.strategies if entry.name == strategy)
    return Encoder(
        session,
        read_tokenizer(directory, manifest, open_file),
        strategy=strategy,
        dtype=dtype,
        target=record.name,
        dim=chosen.dim,
        model=manifest.model,
        run_memory=run_memory(manifest, record, next(iter(forms.values()))) if provider == CPU else None,
        folded=folded_prompts(directory, manifest, session, open_file) if isinstance(session, BehindPrompt) else {},
        ranges=_ranges(directory, chosen, open_file),
        device_name=CPU if record.device(provider) == CPU else f"cuda:{gpu}",
    )


def _ranges(directory: Path, strategy: Strategy, open_file: Callable[[Path], OpenFile]) -> Ranges | None:
    """Of the values of a strategy's vectors; None where the artifact does not tell."""
    if strategy.ranges is None:
        return None
    return Ranges.from_bytes(bytes(open_file(directory / strategy.ranges).data), strategy.dim, strategy.ranges)


def _checked(files: Mapping[str, OpenFile], directory: Path, path: Path) -> OpenFile:
    """A file that was opened for the check."""
    relative = path.relative_to(directory).as_posix() if path.is_relative_to(directory) else str(path)
    if relative not in files:
        raise ArtifactError(
            f"{directory} has a graph whose weights lie in {relative!r}, and its {MANIFEST_NAME} names another file or "
            "none. Export the model again."
        )
    return files[relative]


def _open_forms(
    directory: Path,
    manifest: Manifest,
    target: Target,
    forms: Mapping[str, str],
    form: str | None,
    open_path: Callable[[str], Session],
) -> Session:
    """A session of one form, that serves every batch, or of two, of which the faster one runs each.

    Args:
        forms: form -> path, of a graph or an engine.
        form: the one to run every batch on; None for the only one that the target takes, else the faster one each time.
    """
    form = form or only_form(manifest, target, next(iter(forms.values())))
    if form is not None:
        if form not in forms:
            have = ", ".join(forms)
            raise ArtifactError(
                f"{directory} has no {form} form for {target.name}; it has {have}. Export the model again."
            )
        session = open_path(forms[form])
        return BehindPrompt(cast(StatesSession, session), no_states(manifest)) if form == "prompted" else session
    # An artifact may hold the packed engine alone.
    tokens_only = forms.get(target.tokens_only_form)
    plain = open_path(forms.get("plain") or next(iter(forms.values())))
    if tokens_only is None or "plain" not in forms:
        return plain
    return ByPadding(plain, lambda: open_path(tokens_only), faster_below=faster_below(manifest, target, forms["plain"]))


def _check_arguments(target: str, threads: int | None, provider: str, gpu: int) -> Target:
    """The target of a name; refuses what no artifact could make right."""
    record = find_target(target)
    if threads is None:
        default_threads()
    elif not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise InputError(
            f"threads is {threads!r}; expected 1 to {MOST_THREADS}, or None for the cores that this process may use."
        )
    if provider not in PROVIDERS:
        raise InputError(f"unknown provider {provider!r}; expected one of {', '.join(PROVIDERS)}.")
    if provider not in record.providers:
        raise InputError(f"provider {provider} is one of target onnxruntime; got target {target}. Leave one out.")
    if not isinstance(gpu, int) or gpu < 0:
        raise InputError(f"gpu is {gpu!r}; expected its number, counted from 0.")
    return record


def read_tokenizer(directory: Path, manifest: Manifest, open_file: Callable[[Path], OpenFile] = open_file) -> Tokenizer:
    """The artifact's tokeniser. Several encoders of one artifact share it: it never changes.

    Raises:
        ArtifactError: there is none, or it cannot be used.
    """
    # Only a listed file has been checked.
    if all(entry.path != TOKENIZER_NAME for entry in manifest.files):
        raise ArtifactError(f"{directory} has no {TOKENIZER_NAME}. Export the model again.")
    path = directory / TOKENIZER_NAME
    try:
        content = str(open_file(path).data, "utf-8")
        return _parsed(content, msgspec.json.encode(manifest.text), manifest.model.vocab_size)
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not UTF-8 ({error.reason}). Export the model again.") from None
    except InputError as error:
        raise ArtifactError(f"{path} cannot be used: {error}") from error
    except BaseException as error:
        if isinstance(error, Exception) or not is_failure(error):
            raise
        raise ArtifactError(f"{path} makes the library tokenizers fail: {error}. Export the model again.") from None


@lru_cache(maxsize=4)
def _parsed(content: str, text: bytes, vocab_size: int) -> Tokenizer:
    """A tokeniser from values that can be looked up again."""
    return Tokenizer(content, msgspec.json.decode(text, type=Text), vocab_size)
