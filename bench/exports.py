"""What is made before anything is timed: our artifact, the peers' environments and graphs.

Ours is made anew each time, by the command that users run. The peers' graphs depend on pinned versions and the
checkpoint alone, and are kept from run to run.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from exporter.targets import availability
from poolfold.errors import TargetUnavailable
from poolfold.sessions.openvino import require_precision

LEVELS = {"optimum": (), "optimum O2": ("--optimize", "O2"), "optimum O3": ("--optimize", "O3")}
"""optimum's exports by label: the options of each."""

_MARKER = "poolfold-peer.json"


@dataclass(frozen=True)
class Environment:
    """What is installed, one step after another, and of which distributions the versions are told."""

    steps: tuple[tuple[str, ...], ...]
    told: tuple[str, ...]


OPTIMUM = Environment(
    # torch first and pinned, so that nothing after it asks for another one.
    (
        ("torch==2.13.0",),
        ("optimum-onnx==0.1.0", "transformers==4.57.6", "onnx==1.23.2", "onnxruntime==1.32.0"),
        # What quantises, and msgspec: what times it there is this project's.
        ("nncf==3.4.0", "openvino==2026.4.1", "ctranslate2==4.8.5", "datasets==5.0.1", "msgspec"),
    ),
    ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime", "numpy", "nncf", "ctranslate2"),
)
FASTEMBED = Environment(
    # msgspec and psutil: what times it there is this project's.
    (("fastembed==0.9.1", "onnxruntime==1.32.0", "numpy==2.4.6", "tokenizers==0.23.3", "msgspec", "psutil"),),
    ("fastembed", "onnxruntime", "numpy", "tokenizers"),
)


GENAI = Environment(
    (
        ("torch==2.13.0",),
        ("openvino-genai==2026.4.1.0", "openvino-tokenizers==2026.4.1.0", "openvino==2026.4.1", "transformers==4.57.6"),
        ("msgspec", "psutil", "sentencepiece", "tiktoken"),
    ),
    ("openvino", "openvino-genai", "openvino-tokenizers", "transformers", "numpy"),
)


EMBED_ANYTHING = Environment(
    (("embed-anything==0.7.1", "numpy==2.4.6", "msgspec", "psutil"),), ("embed-anything", "numpy")
)


INFINITY = Environment(
    (
        ("torch==2.13.0",),
        # Its last release names no upper bounds: these are what its command starts with.
        ("infinity-emb[server]==0.0.77", "sentence-transformers==3.4.1", "transformers==4.48.3", "click==8.1.8"),
        # What times it there is this project's.
        ("msgspec", "psutil"),
    ),
    ("infinity_emb", "torch", "transformers", "sentence-transformers"),
)


def environment_of(wanted: Environment, folder: Path) -> Path:
    """Make the environment where it is not there yet; minutes and a download, once.

    Returns:
        Its bin folder.
    """
    marker = folder / _MARKER
    if not marker.is_file() or json.loads(marker.read_text()) != [list(step) for step in wanted.steps]:
        print(f"making a peer's environment in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for step in wanted.steps:
            subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *step], check=True, stdout=sys.stderr)
        marker.write_text(json.dumps(wanted.steps))
    return (folder / "bin").absolute()


def versions(wanted: Environment, bin_folder: Path) -> dict[str, str]:
    """The versions that the environment has, distribution -> version."""
    listed = subprocess.run([str(bin_folder / "pip"), "list", "--format", "json"], check=True, capture_output=True)
    installed = {entry["name"]: entry["version"] for entry in json.loads(listed.stdout)}
    return {name: version for name, version in installed.items() if name in wanted.told}


class Exported(NamedTuple):
    """Our export: the command, as a user would type it, and the targets that are not here, with the reason."""

    command: str
    unavailable: Mapping[str, str]


def export_ours(checkpoint: Path, folder: Path, ours: Iterable[tuple[str, str]], strategies: Sequence[str]) -> Exported:
    """`poolfold export` for those of `ours`, (target, precision), that can run here.

    Raises:
        RuntimeError: it failed.
    """
    entries = availability()
    here = {entry.name for entry in entries if entry.available}
    runs = [pair for pair in ours if pair[0] in here and not why_not(*pair)]
    targets, dtypes = zip(*runs, strict=True)
    arguments = ["export", str(checkpoint), "-o", str(folder), "--force", "--skip-latency"]
    for option, values in (("--pooling", strategies), ("--dtype", dtypes), ("--target", targets)):
        arguments += [word for value in dict.fromkeys(values) for word in (option, value)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-c", "from exporter.commands.cli import main; main()", *arguments], dict(os.environ))
    unavailable = {entry.name: entry.reason or "" for entry in entries if not entry.available}
    # What is kept names no folder outside the project.
    project = Path.cwd()
    arguments[1] = str(checkpoint.relative_to(project)) if checkpoint.is_relative_to(project) else checkpoint.name
    return Exported(shlex.join(["poolfold", *arguments]), unavailable)


def why_not(target: str, dtype: str) -> str:
    """Why OpenVINO does not execute in a precision on this CPU; empty where it does, and for every other target."""
    try:
        if target == "openvino":
            require_precision(dtype)
    except TargetUnavailable as error:
        return str(error)
    return ""


def export_optimum(
    checkpoint: Path, folder: Path, venv: Path, levels: Mapping[str, Sequence[str]] = LEVELS
) -> dict[str, Path]:
    """`optimum-cli export onnx` at each level, label -> graph.

    Raises:
        RuntimeError: it failed.
    """
    programs = environment_of(OPTIMUM, venv)
    made_by = [list(step) for step in OPTIMUM.steps]
    graphs = {}
    for label, options in levels.items():
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
