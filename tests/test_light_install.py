"""The install without extras: what production has. A real virtual environment, with nothing of the exporter's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import poolfold
from poolfold.errors import how_to_install

pytestmark = pytest.mark.e2e

HEAVY = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "safetensors", "psutil", "openvino")


@pytest.fixture(scope="session")
def light() -> Path:
    """The bin folder of an environment that holds `pip install poolfold` and nothing else; `make install` makes it."""
    folder = Path(sys.prefix) / "light" / "bin"
    assert (folder / "poolfold").exists(), "there is no light environment: run `make install`"
    return folder


def run(light: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(a) for a in (light / arguments[0], *arguments[1:])], capture_output=True, text=True)


def test_it_verifies_embeds_and_lists_targets(light: Path, artifact: Path, tmp_path: Path) -> None:
    for name in HEAVY:
        assert run(light, "python", "-c", f"import {name}").returncode != 0, f"{name} came along"
    assert run(light, "poolfold", "verify", artifact).returncode == 0
    (tmp_path / "texts.txt").write_text("one\ntwo words\n\n")
    done = run(light, "poolfold", "embed", artifact, "-i", tmp_path / "texts.txt", "-o", tmp_path / "vectors.npy")
    assert done.returncode == 0, done.stderr
    expected = poolfold.load(artifact).encode(["one", "two words", ""])
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected, atol=1e-6)
    done = run(light, "poolfold", "targets", "--json")
    assert done.returncode == 0, done.stderr
    targets = {target["name"]: target for target in json.loads(done.stdout)["targets"]}
    assert targets["onnxruntime"]["available"]
    for name in ("openvino", "tensorrt-rtx"):
        assert not targets[name]["available"]
        assert how_to_install(name) in targets[name]["reason"]


def test_a_command_that_needs_more_names_the_extra(light: Path, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\n")
    embed = ("embed", artifact, "-i", tmp_path / "texts.txt", "-o", tmp_path / "vectors")
    for arguments, extra in ((("serve", artifact), "serve"), (embed, "bulk")):
        done = run(light, "poolfold", *arguments)
        assert done.returncode == 3, done.stderr
        assert how_to_install(extra) in done.stderr
    assert not (tmp_path / "vectors").exists()


def test_a_target_that_it_lacks_names_the_extra(light: Path, openvino_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\n")
    arguments = ["-i", tmp_path / "texts.txt", "-o", tmp_path / "vectors.npy", "--target", "openvino"]
    done = run(light, "poolfold", "embed", openvino_artifact, *arguments)
    assert done.returncode == 3, done.stderr
    assert how_to_install("openvino") in done.stderr
    assert not (tmp_path / "vectors.npy").exists()
    assert run(light, "poolfold", "verify", openvino_artifact).returncode == 0


def test_it_encodes_from_python(light: Path, artifact: Path) -> None:
    code = "import poolfold, sys; print(poolfold.load(sys.argv[1]).encode(['one', 'two words']).shape)"
    done = run(light, "python", "-W", "error", "-c", code, artifact)
    assert (done.stdout, done.stderr) == ("(2, 32)\n", "")


@pytest.mark.parametrize("command", ["export", "validate", "bench", "inspect"])
def test_other_commands_name_the_extra(
    light: Path, command: str, checkpoint: Path, artifact: Path, tmp_path: Path
) -> None:
    arguments = [checkpoint, "-o", tmp_path / "out"] if command == "export" else [artifact]
    if command == "inspect":
        arguments = [checkpoint]
    done = run(light, "poolfold", command, *arguments)
    assert done.returncode == 3, done.stderr
    assert how_to_install("export") in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert run(light, "poolfold", command, "--help").returncode == 0


@pytest.mark.parametrize("command", ["compare", "distill", "report"])
def test_commands_with_an_extra_of_their_own_name_it(light: Path, command: str, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(f"text {n}" for n in range(99)))
    arguments = {
        "compare": [artifact, "--data", tmp_path / "texts.txt"],
        "distill": [artifact, "--texts", tmp_path / "texts.txt", "-o", tmp_path / "out"],
        "report": [artifact, "-o", tmp_path / "out"],
    }[command]
    done = run(light, "poolfold", command, *arguments)
    assert done.returncode == 3, done.stderr
    assert how_to_install(command) in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]
    assert run(light, "poolfold", command, "--help").returncode == 0


def test_help_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys, poolfold, exporter.commands.cli; print(*sorted(name for name in sys.modules if '.' not in name))"
    )
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert "poolfold" in loaded
    assert not loaded & {*HEAVY, "onnxruntime", "tokenizers", "huggingface_hub", "tensorrt_rtx", "rich"}
