"""The manifest: the contract between the exporter that writes an artifact and the loaders that read it.

Values only, and their exact JSON form. Nothing here looks at the other files of the artifact (`verify.py` does), and
nothing here knows torch, ONNX or any engine.

The file guards itself: its first key, `manifest_sha256`, is the SHA-256 of the file's own bytes with those 64 digits
replaced by zeros. A changed byte anywhere in it, white space included, is found, in any language, with no second file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import msgspec

from poolfold.errors import ArtifactError

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
_UNSEALED = "0" * 64
_REHEARSED = "fp16 rehearsal on "
_DEEPEST = 64
_TOO_DEEP = f"it is nested more than {_DEEPEST} levels deep"
_MOST, _MOST_DIM = 2**31 - 1, 2**20
_SEAL = re.compile(rb'\A\{\s*"manifest_sha256":\s*"([0-9a-f]{64})"')


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen JSON object; an unknown or a missing key, or a wrong type, is an error that names its place."""


class Text(_Record, frozen=True):
    """How a text becomes `input_ids`: all a tokeniser needs besides tokenizer.json.

    `max_seq_length` counts tokens, special tokens included; longer texts are truncated to it on `truncation_side`.
    `include_prompt`: whether the prompt's tokens are pooled. If not, `attention_mask` is 2 on them, 1 on the others.
    `lower_case` says that the checkpoint asked for lower-casing; tokenizer.json already does it.
    """

    max_seq_length: int
    padding_side: str
    truncation_side: str
    pad_token_id: int
    lower_case: bool
    prompts: dict[str, str]
    default_prompt_name: str | None
    include_prompt: bool = True


class TokenizerExample(_Record, frozen=True):
    """A text and its ids, in full: by tokenizer.json as published, and by the transformers of that day."""

    text: str
    file: tuple[int, ...]
    transformers: tuple[int, ...]


class TokenizerReading(_Record, frozen=True):
    """Whose ids the artifact has: `source` is `file`, tokenizer.json as published, or `transformers`.

    `texts` were read both ways, 0 where there was one way only; `differ` of them got other ids, such as `example`.
    """

    source: str
    texts: int
    differ: int
    example: TokenizerExample | None


class Model(_Record, frozen=True):
    """What the checkpoint says it is.

    `source` is a hub id, or the bare name of a folder or an ONNX file; `source_sha256` hashes the contents of the files
    that were read there, None in artifacts of 0.2.0.
    `modules` lists what the graph computes, in order, for example transformer, pooling, dense, normalize, truncate.
    `dimensions` is what a cut keeps of a vector, None without one; `renormalized` says that a normalisation follows it.
    `trained_strategy` is None where the checkpoint does not say how it was trained.
    `vocab_size` counts the rows of the embedding table: ids lie in [0, vocab_size).
    `tokenizer` is None before 0.3, where the ids were those of transformers.
    """

    source: str
    revision: str | None
    model_type: str
    hidden_size: int
    num_layers: int
    vocab_size: int
    trained_strategy: str | None
    modules: tuple[str, ...]
    dimensions: int | None
    similarity: str
    text: Text
    renormalized: bool = False
    source_sha256: str | None = None
    tokenizer: TokenizerReading | None = None


class Strategy(_Record, frozen=True):
    """A pooling strategy in the artifact: `name` is one mode, or modes joined by `+` whose vectors are concatenated."""

    name: str
    trained: bool
    dim: int


class Precision(_Record, frozen=True):
    """Nodes that stay fp32 in an fp16 graph, and the named rule that keeps them so."""

    rule: str
    nodes: int
    why: str


class PaddingFree(_Record, frozen=True):
    """The same graph computing real tokens only: same inputs, same vectors, same weights file.

    `faster_below`: target -> share of a batch's places that hold tokens, below which this was the faster graph when the
    model was exported. A target that is not there was not measured.
    """

    path: str
    nodes: int
    faster_below: dict[str, float]


class Output(_Record, frozen=True):
    """What a graph gives, and how its values are compared.

    `axes` and `dtype` describe the tensor. `metric` tells which values are alike. `refused` lists what never stands in
    it: `nan`, `infinity`, and `zero`, a row of zeros.
    """

    name: str
    axes: tuple[str, ...]
    dtype: str
    metric: str
    refused: tuple[str, ...]


EMBEDDING = Output(
    name="sentence_embedding",
    axes=("batch", "dim"),
    dtype="float32",
    metric="cosine",
    refused=("nan", "infinity", "zero"),
)
"""One vector a text: what every graph of this schema version gives."""


class Graph(_Record, frozen=True):
    """An ONNX graph: `input_ids`, `attention_mask` int64 [batch, seq] -> `sentence_embedding` fp32 [batch, dim].

    `weights` is the external data file that graphs of one dtype share, relative to the artifact. `padding_free` and
    `packed` are further forms of it, None where it has none; `packed` is a graph for engines, with the places of the
    tokens as a further input, `token_positions` int64 [1, tokens]. `passes` says what each optimisation did, or why it
    did nothing.
    """

    path: str
    weights: str | None
    strategy: str
    dtype: str
    inputs: tuple[str, ...]
    output: str
    opset: int
    nodes: int
    attention_layers: int
    attention_ops: int
    kept_fp32: tuple[Precision, ...]
    padding_free: PaddingFree | None
    packed: str | None
    passes: dict[str, str]
    status: str

    @property
    def forms(self) -> dict[str, str]:
        """Each form of the graph: `plain`, `padding-free`, `packed` -> its path."""
        forms = {"plain": self.path}
        if self.padding_free is not None:
            forms["padding-free"] = self.padding_free.path
        if self.packed is not None:
            forms["packed"] = self.packed
        return forms


class Range(_Record, frozen=True):
    """One dimension of an optimisation profile."""

    min: int
    opt: int
    max: int


class Profile(_Record, frozen=True):
    """An optimisation profile: the shapes an engine accepts, and the one it is tuned for.

    `share`: of the texts that the profiles were made from, those that fall into this one; None where none were given.
    """

    batch: Range
    seq_len: Range
    share: float | None = None


class Contents(_Record, frozen=True):
    """What the library says is inside an engine.

    `precisions`: layers by the precision of what they give, in the library's names. `fp32_kept`: fp32 layers that come
    from nodes that the graph keeps so. `device_memory`: bytes that a run needs besides the weights, by profile; empty
    where only a GPU could tell.
    """

    layers: int
    precisions: dict[str, int]
    fp32_kept: int
    device_memory: tuple[int, ...]


class Engine(_Record, frozen=True):
    """An engine and what it needs. `status`: `built` (it never ran here) or `validated` (its vectors were checked).

    `form`: `plain`, or `packed` where it takes `token_positions` and computes real tokens only. The library must have
    exactly `library_version`, or its major number where the engine is `version_compatible`. `hardware_compatibility`:
    `none` (GPUs of `compute_capabilities` alone), `same_compute_capability` or `ampere_plus`. `stripped`: its weights
    are left out, and are refitted from `graph` when it is loaded. `contents`: None where nothing was built.
    """

    path: str
    target: str
    strategy: str
    dtype: str
    status: str
    graph: str
    form: str
    library: str
    library_version: str
    compute_capabilities: tuple[str, ...]
    version_compatible: bool
    hardware_compatibility: str
    stripped: bool
    profiles: tuple[Profile, ...]
    contents: Contents | None
    attention_layers: int
    attention_fused: int
    build_seconds: float
    warnings: tuple[str, ...]


class File(_Record, frozen=True):
    """A file of the artifact; `path` is relative, with forward slashes."""

    path: str
    bytes: int
    sha256: str


class Executor(_Record, frozen=True):
    """What computed vectors: a target on a device, one form of a graph; `rehearsed` where fp16 was rounded in fp32."""

    target: str
    device: str
    form: str = "plain"
    rehearsed: bool = False

    def __str__(self) -> str:
        form = "" if self.form == "plain" else f", {self.form}"
        return f"{_REHEARSED if self.rehearsed else ''}{self.target} {self.device}{form}"

    @classmethod
    def parse(cls, name: str) -> Executor:
        """Read what `str` gives. Manifests of 0.1.0 have the name alone.

        Raises:
            ValueError: not such a name.
        """
        runs, _, form = name.removeprefix(_REHEARSED).partition(", ")
        target, device = runs.rsplit(" ", 1)
        return cls(target=target, device=device, form=form or "plain", rehearsed=name.startswith(_REHEARSED))


class ParityCheck(_Record, frozen=True):
    """A check's value, over all texts, and the limit that it was held to; None where it is reported only."""

    value: float
    limit: float | None
    passed: bool


class WorstText(_Record, frozen=True):
    """A text, shortened, and the cosine of its vector with the reference's."""

    text: str
    cosine: float


class Parity(_Record, frozen=True):
    """The checks of one candidate, by name, against `reference` on `texts` texts.

    `executor` is the name of `ran_on`, for people.
    """

    strategy: str
    dtype: str
    executor: str
    ran_on: Executor
    reference: str
    passed: bool
    texts: int
    checks: dict[str, ParityCheck]
    worst: tuple[WorstText, ...]


class Latency(_Record, frozen=True):
    """A system on a workload: milliseconds of a call over the rounds, median and quartiles.

    `runtime`: a target, with ONNX Runtime's provider behind it where that is another than `cpu`; or a baseline.
    `speedup`: the baseline's time over this one's, the median of the rounds' ratios. `increase_mib`: what the model and
    the largest batch add to the process; None where the machine does not tell.
    """

    strategy: str
    dtype: str
    runtime: str
    workload: str
    threads: int
    median_ms: float
    q1_ms: float
    q3_ms: float
    speedup: float
    sentences_per_s: float
    tokens_per_s: float
    increase_mib: float | None


class Manifest(_Record, frozen=True):
    """An artifact, whole. `environment` is a report for people and scripts: plain JSON."""

    schema_version: int
    poolfold_version: str
    created: str
    command: tuple[str, ...]
    model: Model
    strategies: tuple[Strategy, ...]
    graphs: tuple[Graph, ...]
    engines: tuple[Engine, ...]
    files: tuple[File, ...]
    parity: tuple[Parity, ...]
    latency: tuple[Latency, ...]
    environment: Mapping[str, Any]

    def graph(self, strategy: str, dtype: str) -> Graph | None:
        """The graph of a strategy and a dtype, or None."""
        return next((g for g in self.graphs if (g.strategy, g.dtype) == (strategy, dtype)), None)

    def graph_at(self, path: str) -> Graph | None:
        """The graph one of whose forms is a file."""
        return next((graph for graph in self.graphs if path in graph.forms.values()), None)

    def digest(self, *paths: str | None) -> str:
        """A name for the content of some files of the artifact, from the SHA-256 of each."""
        sums = {file.path: file.sha256 for file in self.files}
        return hashlib.sha256(" ".join(sums.get(path, "") for path in paths if path).encode()).hexdigest()


def dumps(manifest: Manifest) -> bytes:
    """The manifest as sealed JSON bytes."""
    fields = {"manifest_sha256": _UNSEALED, **msgspec.to_builtins(manifest)}
    unsealed = msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"
    seal = hashlib.sha256(unsealed).hexdigest()
    return unsealed.replace(_UNSEALED.encode(), seal.encode(), 1)


def loads(data: bytes, *, where: str = MANIFEST_NAME) -> Manifest:
    """Read sealed JSON bytes.

    Raises:
        ArtifactError: not a manifest, of another schema version, changed since it was written, or malformed.
    """
    try:
        fields = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Without the parser's own words: every language's loader says the same.
        raise ArtifactError(f"{where} is not JSON. Export the model again.") from None
    except RecursionError:
        raise _malformed(where, _TOO_DEEP) from None
    _check_values(where, fields)
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    # The version comes first: a later poolfold may seal its manifest in another way.
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{where} has schema version {version}; this poolfold reads up to version {SCHEMA_VERSION}. "
            "Upgrade poolfold, or export the model again with this one."
        )
    seal = _SEAL.match(data)
    if version is None or seal is None:
        raise ArtifactError(f"{where} is not a poolfold manifest: it lacks manifest_sha256 or schema_version.")
    start, end = seal.span(1)
    if hashlib.sha256(data[:start] + _UNSEALED.encode() + data[end:]).hexdigest().encode() != seal.group(1):
        raise ArtifactError(f"{where} was changed after it was written: its SHA-256 differs. Export the model again.")
    del fields["manifest_sha256"]
    try:
        manifest = msgspec.convert(_with_executors(fields), Manifest)
    except msgspec.ValidationError as error:
        raise _malformed(where, str(error)) from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise ArtifactError(f"{where} has schema version {version}; this poolfold reads version {SCHEMA_VERSION}.")
    _check_sizes(where, manifest)
    return manifest


def _malformed(where: str, what: str) -> ArtifactError:
    return ArtifactError(f"{where} is malformed: {what}. Export the model again.")


def _check_values(where: str, fields: Any) -> None:
    """Refuse what other languages cannot hold: integers of more than 64 bits, values nested too deep."""
    level = [fields]
    for _ in range(_DEEPEST):
        if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in level):
            raise _malformed(where, "it holds an integer of more than 64 bits")
        inside = (value.values() if isinstance(value, dict) else value for value in level)
        level = [item for values in inside if not isinstance(values, str | int | float | NoneType) for item in values]
        if not level:
            return
    raise _malformed(where, _TOO_DEEP)


def _check_sizes(where: str, manifest: Manifest) -> None:
    """Refuse sizes that no model has, before memory is allocated by them."""
    text, vocab_size = manifest.model.text, manifest.model.vocab_size
    sizes = [
        ("model.vocab_size", vocab_size, 1, _MOST),
        ("model.text.max_seq_length", text.max_seq_length, 1, _MOST),
        ("model.text.pad_token_id", text.pad_token_id, 0, vocab_size - 1),
        *((f"strategies[{i}].dim", strategy.dim, 1, _MOST_DIM) for i, strategy in enumerate(manifest.strategies)),
    ]
    for i, engine in enumerate(manifest.engines):
        for j, profile in enumerate(engine.profiles):
            for name, span in (("batch", profile.batch), ("seq_len", profile.seq_len)):
                at = f"engines[{i}].profiles[{j}].{name}"
                sizes += [
                    (f"{at}.min", span.min, 1, _MOST),
                    (f"{at}.opt", span.opt, span.min, _MOST),
                    (f"{at}.max", span.max, span.opt, _MOST),
                ]
    for name, value, least, most in sizes:
        if not least <= value <= most:
            raise _malformed(where, f"{name} is {value}; expected {least} to {most}")


def _with_executors(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with each parity row's executor as a record; 0.1.0 wrote its name alone.

    Raises:
        msgspec.ValidationError: a name that `Executor.parse` cannot read.
    """
    rows = fields.get("parity")
    if not isinstance(rows, list):
        return fields
    parity = []
    for place, row in enumerate(rows):
        if isinstance(row, dict) and "ran_on" not in row and isinstance(row.get("executor"), str):
            try:
                row = {**row, "ran_on": msgspec.to_builtins(Executor.parse(row["executor"]))}
            except ValueError:
                raise msgspec.ValidationError(
                    f"Expected the name of an executor, got {row['executor']!r} - at `$.parity[{place}].executor`"
                ) from None
        parity.append(row)
    return {**fields, "parity": parity}


def read_manifest(directory: Path) -> Manifest:
    """Read DIR/manifest.json.

    Raises:
        ArtifactError: as `loads`, and where there is no such file.
    """
    path = directory / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(
            f"{directory} is not an artifact: it has no {MANIFEST_NAME}. Expected a directory from `poolfold export`."
        ) from None
    return loads(data, where=str(path))
