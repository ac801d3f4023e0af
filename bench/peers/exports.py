"""What is made before anything is timed: our artifact, the peers' graphs, the bare product's graph.

Ours is made anew each time, by the command that users run. The peers' graphs depend on pinned versions and the
checkpoint alone, and are kept from run to run.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.optimum_venv import STEPS, peer_environment

STRATEGIES = ("cls", "mean")
LEVELS = {"optimum": (), "optimum O2": ("--optimize", "O2"), "optimum O3": ("--optimize", "O3")}
"""optimum's exports by label: the options of each."""

_MARKER = "made-by.json"


def export_ours(checkpoint: Path, folder: Path, targets: Sequence[str], dtypes: Sequence[str]) -> str:
    """`poolfold export` of both strategies, for these targets and precisions.

    Returns:
        The command, as a user would type it.

    Raises:
        RuntimeError: it failed.
    """
    arguments = ["export", str(checkpoint), "-o", str(folder), "--force", "--skip-latency"]
    for name, values in (("--pooling", STRATEGIES), ("--dtype", dtypes), ("--target", targets)):
        arguments += [word for value in values for word in (name, value)]
    _run([sys.executable, "-c", "from exporter.commands.cli import main; main()", *arguments], dict(os.environ))
    return shlex.join(["poolfold", *arguments])


def export_optimum(checkpoint: Path, folder: Path, venv: Path) -> dict[str, Path]:
    """`optimum-cli export onnx` at each level, label -> graph.

    Raises:
        RuntimeError: it failed.
    """
    programs = peer_environment(venv)
    made_by = [list(step) for step in STEPS]
    graphs = {}
    for label, options in LEVELS.items():
        output = folder / label.replace(" ", "-")
        marker = output / _MARKER
        if not marker.is_file() or json.loads(marker.read_text()) != made_by:
            shutil.rmtree(output, ignore_errors=True)
            line = [str(programs / "optimum-cli"), "export", "onnx", "--model", str(checkpoint)]
            line += ["--library", "transformers", "--task", "feature-extraction", *options, str(output)]
            _run(line, {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""})
            marker.write_text(json.dumps(made_by))
        graphs[label] = output / "model.onnx"
    return graphs


def _run(line: Sequence[str], variables: dict[str, str]) -> None:
    """Run a command to its end; what it says is shown only where it fails."""
    done = subprocess.run(line, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        said = "\n".join((done.stderr + done.stdout).splitlines()[-15:])
        raise RuntimeError(f"`{' '.join(line)}` ended with code {done.returncode}, expected 0. Its last words:\n{said}")
