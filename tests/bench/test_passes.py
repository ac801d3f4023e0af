"""docs/passes.md shows what `bench.passes` kept, and a run keeps the same of any graphs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import batches
from bench.passes import found, pass_seconds, table, timed, trace, variants
from bench.session_options import measured
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from poolfold.manifest import read_manifest

ROOT = Path(__file__).parents[2]
KEPT = json.loads((ROOT / "bench" / "results" / "passes.json").read_text())


def test_the_page_holds_the_table_of_the_kept_result() -> None:
    page = (ROOT / "docs" / "passes.md").read_text()
    assert page.split("<!-- bench/passes -->\n")[1].split("\n<!-- /bench/passes -->")[0] == table(KEPT)


@pytest.mark.e2e
def test_a_run_keeps_what_the_kept_result_has(checkpoint: Path) -> None:
    spec = read_spec(Source("tiny", checkpoint, None))
    graphs = variants(trace(spec), spec.head)
    assert set(graphs) == set(KEPT["graphs"]) - {"mean: Q, K, V as one product (left out)"}
    few = {name: graphs[name] for name in ("mean: as traced", "mean: padding-free")}
    report = timed(few, batches.timed(spec, ["1x16", "4x8"]), seconds=0.0)
    result = json.loads(json.dumps(found(few, report, {6: 0.5})))
    assert result.keys() == KEPT.keys()
    # Kept before the instructions of the CPU were told.
    assert result["environment"].keys() == KEPT["environment"].keys() | {"instructions"}
    for name, load in result["workloads"].items():
        assert load.keys() == KEPT["workloads"]["1x16"].keys()
        assert load["real_tokens"] == 1.0
        assert load["graphs"]["mean: as traced"]["speedup"] == {"q1": 1.0, "median": 1.0, "q3": 1.0}
        assert load["graphs"]["mean: padding-free"]["ms"]["median"] > 0, name
    assert table(result).count("\n") == 3


@pytest.mark.slow
def test_passes_are_timed_on_a_graph_of_any_depth(tmp_path: Path) -> None:
    assert 0 < pass_seconds(1, tmp_path) < 60


def test_session_options_keep_what_the_kept_result_has(artifact: Path) -> None:
    manifest = read_manifest(artifact)
    graph = next(graph for graph in manifest.graphs if graph.dtype == "fp32")
    text, vocabulary = manifest.model.text, (artifact / "tokenizer.json").read_text()
    loads = [batches.full(name, text, manifest.model.vocab_size, vocabulary) for name in ("1x8", "32x16")]
    kept = json.loads((ROOT / "bench" / "results" / "session_options.json").read_text())["graphs"]["mean"]
    result = json.loads(json.dumps(measured(artifact / graph.path, loads, 1, 0.0)))
    assert list(result) == ["times", "mib_32x16"]
    assert list(kept) == ["times", "mib_32x256"]
    assert result["times"]["1x8"].keys() == kept["times"]["1x16"].keys()
    for side in ("ours_ms", "defaults_ms"):
        q1, median, q3 = result["times"]["1x8"][side]
        assert 0 < q1 <= median <= q3
    assert result["mib_32x16"].keys() == kept["mib_32x256"].keys()
