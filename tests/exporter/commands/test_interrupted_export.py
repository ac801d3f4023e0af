"""An export that is ended from outside, at any stage, leaves what was there before and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

MAIN = "from exporter.commands.cli import main; main()"


def start(checkpoint: Path, output: Path) -> subprocess.Popen[str]:
    arguments = ["export", str(checkpoint), "-o", str(output), "--force", "--threads", "1"]
    arguments += ["--dtype", "fp32", "--dtype", "fp16", "--target", "onnxruntime", "--target", "tensorrt-rtx"]
    return subprocess.Popen([sys.executable, "-c", MAIN, *arguments], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("stage", "number", "code"),
    [
        ("read", signal.SIGKILL, -9),
        ("trace", signal.SIGINT, 130),
        ("graphs", signal.SIGKILL, -9),
        ("engines", signal.SIGINT, 130),
        ("validate", signal.SIGKILL, -9),
        ("validate", signal.SIGINT, 130),
    ],
)
def test_the_old_artifact_stays(
    stage: str, number: signal.Signals, code: int, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "manifest.json").write_text("old")
    process = start(checkpoint, output)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        # A stage's line comes at its end: the signal falls into the stage behind it.
        if line.startswith(stage):
            process.send_signal(number)
            break
    said += process.stderr.readlines()
    assert process.wait(timeout=120) == code, "".join(said)
    assert any(line.startswith(stage) for line in said), "".join(said)
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in output.iterdir()] == ["manifest.json"]
    if number is signal.SIGINT:
        assert "interrupted" in said[-1]
        assert "Traceback" not in "".join(said)
