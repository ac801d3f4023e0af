"""Sealed manifests and listed tokenizers with hostile content: an ArtifactError that names the file, and no crash."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolfold
from poolfold.errors import ArtifactError, InputError
from poolfold.manifest import MANIFEST_NAME, Manifest, loads
from tests.artifacts import relist, rewrite_manifest, tokenizer_json, write_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    directory = tmp_path_factory.mktemp("hostile") / "DIR"
    return directory, write_artifact(directory)


def sealed(manifest: bytes, before: bytes, after: bytes) -> bytes:
    """The manifest's bytes with a change and a seal that holds."""
    seal = json.loads(manifest)["manifest_sha256"].encode()
    unsealed = manifest.replace(seal, b"0" * 64)
    assert before in unsealed
    unsealed = unsealed.replace(before, after, 1)
    return unsealed.replace(b"0" * 64, hashlib.sha256(unsealed).hexdigest().encode(), 1)


DEEP = b"[" * 100_000 + b"]" * 100_000
MANIFESTS = {
    "not UTF-8": (b'"tests/table"', b'"tests/\xff\xfe"', "is not JSON"),
    "half a character": (b'"tests/table"', rb'"tests/\ud800"', "is not JSON"),
    "half a character in a path": (b'"tokenizer.json"', rb'"\ud800"', "is not JSON"),
    "a number past every float": (b'"vocab_size": 32', b'"vocab_size": 1e999', "is not JSON"),
    "nested deep": (b'"3.11"', DEEP, "nested more than 64 levels deep"),
    "nested less deep": (b'"3.11"', b"[" * 70 + b"]" * 70, "nested more than 64 levels deep"),
    "2^63 rows": (b'"vocab_size": 32', b'"vocab_size": %d' % 2**63, "an integer of more than 64 bits"),
    "2^64 rows": (b'"vocab_size": 32', b'"vocab_size": %d' % 2**64, "an integer of more than 64 bits"),
    "2^62 rows": (
        b'"vocab_size": 32',
        b'"vocab_size": %d' % 2**62,
        r"model\.vocab_size is \d+; expected 1 to 2147483647",
    ),
    "2^62 tokens": (b'"max_seq_length": 16', b'"max_seq_length": %d' % 2**62, r"max_seq_length is \d+; expected 1 to"),
    "no tokens": (b'"max_seq_length": 16', b'"max_seq_length": 0', r"max_seq_length is 0; expected 1 to"),
    "2^40 values": (b'"dim": 8', b'"dim": %d' % 2**40, r"strategies\[0\]\.dim is \d+; expected 1 to 1048576"),
    "a pad id outside": (b'"pad_token_id": 0', b'"pad_token_id": 32', r"pad_token_id is 32; expected 0 to 31"),
    "a digit too many": (b'"bytes": 1024', b'"bytes": 1' + b"0" * 5000, "is not JSON"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_sealed_manifest(artifact: tuple[Path, Manifest], name: str) -> None:
    before, after, message = MANIFESTS[name]
    manifest = (artifact[0] / MANIFEST_NAME).read_bytes()
    with pytest.raises(ArtifactError, match=message):
        loads(sealed(manifest, before, after))


def test_the_change_that_these_make_is_read_where_it_is_harmless(artifact: tuple[Path, Manifest]) -> None:
    manifest = (artifact[0] / MANIFEST_NAME).read_bytes()
    assert loads(sealed(manifest, b'"vocab_size": 32', b'"vocab_size": 64')).model.vocab_size == 64
    assert loads(sealed(manifest, b'"3.11"', b"[" * 50 + b"]" * 50)).environment["python"]


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    fields = json.loads(tokenizer_json())
    change(fields)
    return json.dumps(fields).encode()


TOKENIZERS = {
    "empty": b"",
    "not UTF-8": tokenizer_json().encode().replace(b"w25", b"\xff\xfe5"),
    "UTF-16": tokenizer_json().encode("utf-16"),
    "no tokenizer": b"{}",
    "deep": DEEP,
    "half a character": tokenizer_json().encode().replace(b'"w25"', rb'"\ud800"'),
    "an id past 64 bits": changed(lambda t: t["model"]["vocab"].update(w25=2**64)),
    "a broken pattern": changed(
        lambda t: t.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}
        )
    ),
    "a broken table of characters": changed(
        lambda t: t.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})
    ),
}
PANICS = {
    "a special token that is not there": changed(lambda t: t["post_processor"].update(special_tokens={})),
    "a table that leads outside": changed(
        lambda t: t.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "CAAAAAEAAAACAAAAAAA="})
    ),
    "pieces of no length": changed(lambda t: t.update(pre_tokenizer={"type": "FixedLength", "length": 0})),
}
"""What the library tokenizers reads, and then panics on a text."""


def write_tokenizer(artifact: tuple[Path, Manifest], content: bytes) -> Path:
    directory, manifest = artifact
    (directory / "tokenizer.json").write_bytes(content)
    rewrite_manifest(directory, manifest, files=relist(directory, manifest, "tokenizer.json"))
    return directory


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer(artifact: tuple[Path, Manifest], name: str) -> None:
    directory = write_tokenizer(artifact, TOKENIZERS[name])
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        poolfold.load(directory, threads=1)


@pytest.mark.parametrize("name", PANICS)
def test_a_tokenizer_that_panics(artifact: tuple[Path, Manifest], name: str) -> None:
    directory = write_tokenizer(artifact, PANICS[name])
    with pytest.raises(InputError, match=r"tokenizer\.json|the tokeniser refuses text 0"):
        poolfold.load(directory, threads=1).encode(["w1 w2"])


@pytest.mark.slow
def test_random_values_anywhere_in_a_tokenizer(artifact: tuple[Path, Manifest]) -> None:
    """Whatever is refused is refused in words."""
    values = (None, True, -1, 2**31, 2**32, 2**63, 2**64, 1e308, "", "x", "\0", [], {}, [[]], {"a": 1})
    whole = json.loads(tokenizer_json())
    chance = random.Random(1)
    refused = 0
    for _ in range(200):
        fields = copy.deepcopy(whole)
        parent, key = chance.choice([(p, k) for p, k in places(fields)])
        parent[key] = chance.choice(values)
        directory = write_tokenizer(artifact, json.dumps(fields).encode())
        try:
            poolfold.load(directory, threads=1).encode(["w1 w2", "other"])
        except InputError:
            refused += 1
    assert 0 < refused < 200


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container with each of its keys."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]
