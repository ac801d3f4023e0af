"""A text beyond what was checked is embedded, and its caller is told once: by a warning, or by a line of `embed`."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import poolfold
from exporter.commands.cli import run_command
from poolfold.manifest import read_manifest
from tests.artifacts import MAX_SEQ_LENGTH, expected, rewrite_manifest, write_artifact

PROVEN = 6
SHORT, LONG = "w1 w2", "w1 w2 w3 w4 w5 w6"
TOLD = rf"a text has 8 tokens, and this artifact was validated up to {PROVEN} of {MAX_SEQ_LENGTH}.*--validate-length"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "a")
    rewrite_manifest(tmp_path / "a", read_manifest(tmp_path / "a"), validated_up_to=PROVEN)
    return tmp_path / "a"


def test_the_first_text_beyond_what_was_checked_warns_its_caller_once(directory: Path) -> None:
    with poolfold.load(directory) as encoder, warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode([SHORT])
        with pytest.warns(UserWarning, match=TOLD) as told:
            vectors = encoder.encode([SHORT, LONG])
        assert told[0].filename == __file__
        np.testing.assert_array_equal(vectors, expected([SHORT, LONG]))
        encoder.encode([LONG])
        encoder.embed([[7] * 8], [[1] * 8])


def test_ids_beyond_it_warn_as_texts_do_and_padding_does_not(directory: Path) -> None:
    with poolfold.load(directory) as encoder, warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.embed([[7] * 8], [[1] * 5 + [0] * 3])
        with pytest.warns(UserWarning, match=TOLD) as told:
            encoder.embed([[7] * 8], [[1] * 8])
        assert told[0].filename == __file__


@pytest.mark.parametrize("proven", [None, MAX_SEQ_LENGTH])
def test_where_all_was_checked_or_an_earlier_release_checked_nothing_warns(directory: Path, proven: int | None) -> None:
    rewrite_manifest(directory, read_manifest(directory), validated_up_to=proven)
    assert read_manifest(directory).unproven_from is None
    with poolfold.load(directory) as encoder, warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode([LONG * 9], truncate=True)


def test_another_encoder_of_it_tells_again(directory: Path) -> None:
    with poolfold.load(directory) as encoder:
        for each in (encoder, replace(encoder)):
            with pytest.warns(UserWarning, match="unproven"):
                each.encode([LONG])


def test_embed_says_it_in_a_line(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text(f"{SHORT}\n{LONG}\n{LONG}\n")
    command = ["embed", str(directory), "-i", str(tmp_path / "texts.txt"), "-o", str(tmp_path / "v.npy")]
    assert run_command([*command, "--batch-size", "1"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert f"validated up to {PROVEN} of {MAX_SEQ_LENGTH}" in line
