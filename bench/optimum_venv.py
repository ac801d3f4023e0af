"""The peer, `optimum-cli export onnx`, in a virtual environment of its own: it needs an older transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

STEPS = (
    # First and pinned, so that nothing after it asks for another torch.
    ("torch==2.13.0",),
    ("optimum-onnx==0.1.0", "transformers==4.57.6", "onnx==1.23.2", "onnxruntime==1.32.0"),
)
_MARKER = "poolfold-peer.json"


def peer_environment(folder: Path) -> Path:
    """Make the environment where it is not there yet; minutes and a download, once.

    Returns:
        Its bin folder.
    """
    marker = folder / _MARKER
    if not marker.is_file() or json.loads(marker.read_text()) != [list(step) for step in STEPS]:
        print(f"making the peer's environment in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for step in STEPS:
            subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *step], check=True, stdout=sys.stderr)
        marker.write_text(json.dumps(STEPS))
    return (folder / "bin").absolute()


def peer_versions(bin_folder: Path) -> dict[str, str]:
    """The versions that the environment has, distribution -> version."""
    listed = subprocess.run([str(bin_folder / "pip"), "list", "--format", "json"], check=True, capture_output=True)
    names = ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime", "numpy")
    return {entry["name"]: entry["version"] for entry in json.loads(listed.stdout) if entry["name"] in names}
