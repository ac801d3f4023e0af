"""A manifest as sealed JSON, and back.

The file guards itself: its first key, `manifest_sha256`, is the SHA-256 of the file's own bytes with those 64 digits
replaced by zeros. A changed byte anywhere in it, white space included, is found, in any language, with no second file.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from types import NoneType
from typing import Any

import msgspec

from poolfold.errors import ArtifactDiffers, ArtifactError
from poolfold.manifest.artifact import Manifest
from poolfold.manifest.contents import USUAL_RUN_MEMORY
from poolfold.manifest.no_artifact import MANIFEST_NAME, no_artifact
from poolfold.manifest.reports import Executor

SCHEMA_VERSION = 1
_UNSEALED = "0" * 64
_DEEPEST = 64
_TOO_DEEP = f"it is nested more than {_DEEPEST} levels deep"
_MOST, _MOST_DIM = 2**31 - 1, 2**20
_SEAL = re.compile(rb'\A\{\s*"manifest_sha256":\s*"([0-9a-f]{64})"')


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
        problem = f"{where} was changed after it was written: its SHA-256 differs"
        raise ArtifactDiffers(f"{problem}. Export the model again.", [problem])
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
    for i, graph in enumerate(manifest.graphs):
        for name, size in msgspec.structs.asdict(graph.run_memory or USUAL_RUN_MEMORY).items():
            sizes.append((f"graphs[{i}].run_memory.{name}", size, 0, _MOST))
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
        raise no_artifact(directory) from None
    return loads(data, where=str(path))


def is_artifact(directory: Path) -> bool:
    """Whether a directory has a manifest of ours, by its first key. Nothing is checked."""
    try:
        with (directory / MANIFEST_NAME).open("rb") as file:
            return _SEAL.match(file.read(200)) is not None
    except OSError:
        return False
