"""Peers that need libraries of other versions than ours, each in a virtual environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_MARKER = "poolfold-peer.json"


@dataclass(frozen=True)
class Environment:
    """What is installed, one step after another, and of which distributions the versions are told."""

    steps: tuple[tuple[str, ...], ...]
    told: tuple[str, ...]


OPTIMUM = Environment(
    # torch first and pinned, so that nothing after it asks for another one.
    (("torch==2.13.0",), ("optimum-onnx==0.1.0", "transformers==4.57.6", "onnx==1.23.2", "onnxruntime==1.32.0")),
    ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime", "numpy"),
)
FASTEMBED = Environment(
    # msgspec: what times it there is this project's.
    (("fastembed==0.9.1", "onnxruntime==1.32.0", "numpy==2.4.6", "tokenizers==0.23.3", "msgspec"),),
    ("fastembed", "onnxruntime", "numpy", "tokenizers"),
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
