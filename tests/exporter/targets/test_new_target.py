"""A new target is one record and one file: every command then knows it, and nothing else changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# In a process of its own, since the command line reads the list of targets when it is imported.
SCRIPT = """
import json, sys
from tests import stand_in
stand_in.register()
from exporter.commands.cli import run_command
import exporter, poolfold
from exporter.host.environment import environment

model, out = sys.argv[1:]
assert run_command(["targets"]) == 0
assert run_command(["export", model, "-o", out, "--target", "onnxruntime", "--target", "stand-in", "--skip-latency",
                    "--threads", "1", "-q"]) == 0
assert run_command(["validate", out, "--model", model, "--target", "stand-in", "--threads", "1"]) == 0
try:
    exporter.export(model, out + "-fp16", targets=["stand-in"], dtypes=["fp16"])
except poolfold.InputError as error:
    print(error)
with poolfold.load(out, target="stand-in") as ours, poolfold.load(out) as theirs:
    same = bool((ours.encode(["one text"]) == theirs.encode(["one text"])).all())
manifest = poolfold.verify(out)
print(json.dumps({
    "same": same,
    "engines": [[e.target, e.dtype, e.status] for e in manifest.engines],
    "checked": sorted({p.ran_on.target for p in manifest.parity}),
}))
"""


@pytest.mark.e2e
def test_a_target_is_registered_by_its_record_and_its_file_alone(checkpoint: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(checkpoint), str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.split()[:2] == ["stand-in", "yes"] for line in lines)
    assert "--target stand-in needs --dtype fp32: the stand-in computes in fp32. Add --dtype fp32." in lines
    assert json.loads(lines[-1]) == {
        "same": True,
        "engines": [["stand-in", "fp32", "validated"]],
        "checked": ["onnxruntime", "stand-in"],
    }
