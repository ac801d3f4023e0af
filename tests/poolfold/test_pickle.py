"""An encoder pickles as what it was loaded from: for spawned workers, joblib, and fingerprints of data sets."""

from __future__ import annotations

import copy
import multiprocessing
import pickle  # noqa: TID251 - what is tested: that encoders can be pickled
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import dill
import numpy as np
import pytest
from datasets.fingerprint import Hasher

import poolfold
from poolfold import ArtifactError
from tests.artifacts import write_artifact

TEXTS = ["w1 w2", "w3", "w4 w5 w6"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "DIR", strategies=("mean", "cls"))
    return tmp_path / "DIR"


@pytest.mark.parametrize("library", [pickle, dill], ids=lambda library: library.__name__)
def test_it_comes_back_as_it_was(directory: Path, library: object) -> None:
    with poolfold.load(directory, "cls", threads=1) as encoder:
        data = library.dumps(encoder)  # type: ignore[attr-defined]
        assert len(data) < 1000
        with pickle.loads(data) as again:
            assert (again.strategy, again.dtype, again.target) == ("cls", "fp32", "onnxruntime")
            np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
            assert pickle.dumps(again) == pickle.dumps(encoder)


def test_a_copy_is_another_session(directory: Path) -> None:
    with poolfold.load(directory) as encoder:
        other = copy.deepcopy(encoder)
    np.testing.assert_array_equal(other.encode(TEXTS), poolfold.load(directory).encode(TEXTS))


def test_a_spawned_worker_loads_it_wherever_it_runs(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory.parent)
    encoder = poolfold.load("DIR")
    monkeypatch.chdir("/")  # where no DIR lies
    with encoder, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        np.testing.assert_array_equal(pool.submit(encoder.encode, TEXTS).result(), encoder.encode(TEXTS))


def test_its_hash_is_of_the_artifact_and_the_arguments(directory: Path, tmp_path: Path) -> None:
    code = f"""
import poolfold
from datasets.fingerprint import Hasher
encoder = poolfold.load({str(directory)!r})
print(Hasher.hash(encoder.encode), Hasher.hash(lambda rows: encoder.encode(rows["text"])))
"""
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1, "or datasets computes again what it has"
    write_artifact(tmp_path / "other", strategies=("mean",))
    encoders = [poolfold.load(directory), poolfold.load(directory, "cls"), poolfold.load(tmp_path / "other")]
    assert len({Hasher.hash(encoder) for encoder in encoders}) == 3


def test_a_data_set_is_mapped(directory: Path) -> None:
    rows = datasets.Dataset.from_dict({"text": TEXTS})
    with poolfold.load(directory) as encoder:
        mapped = rows.map(lambda batch: {"vector": encoder.encode(batch["text"])}, batched=True)
        np.testing.assert_array_equal(mapped.with_format("numpy")["vector"][:], encoder.encode(TEXTS))


def test_where_the_directory_has_gone_it_is_named(directory: Path) -> None:
    data = pickle.dumps(poolfold.load(directory))
    shutil.rmtree(directory)
    with pytest.raises(ArtifactError, match=rf"{directory} is not on this machine; an Encoder was pickled"):
        pickle.loads(data)


def test_another_artifact_in_its_place_is_not_taken_for_it(directory: Path) -> None:
    data = pickle.dumps(poolfold.load(directory))
    shutil.rmtree(directory)
    write_artifact(directory, strategies=("mean",))
    with pytest.raises(ArtifactError, match="holds another artifact than the one that an Encoder was loaded from"):
        pickle.loads(data)


def test_a_changed_byte_is_found_as_by_load(directory: Path) -> None:
    data = pickle.dumps(poolfold.load(directory))
    (directory / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        pickle.loads(data)


def test_one_made_from_parts_says_what_to_pass(directory: Path) -> None:
    encoder = poolfold.load(directory)
    parts = poolfold.Encoder(
        encoder.session,
        encoder.tokenizer,
        strategy="mean",
        dtype="fp32",
        target="onnxruntime",
        dim=8,
        model=encoder.model,
    )
    with pytest.raises(TypeError, match=r"not made by poolfold\.load.*pass its directory"):
        pickle.dumps(parts)
