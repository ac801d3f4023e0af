"""`poolfold build`: engines added to an artifact made elsewhere, whole or not at all."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from exporter.commands.cli import run_command
from poolfold.errors import how_to_install
from poolfold.manifest import Executor, Latency, PaddingFree, read_manifest
from poolfold.verify import verify
from tests.artifacts import relist, rewrite_manifest
from tests.exporter.commands.copies import copy_with_one_graph

ENGINE = "engines/tensorrt-rtx/mean_fp16.engine"


@pytest.fixture
def graphs_only(artifact: Path, tmp_path: Path) -> Path:
    """An artifact as it comes from elsewhere: one fp16 graph, no engine."""
    copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16")
    return tmp_path / "a"


def snapshot(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_an_engine_is_added_and_all_else_is_kept(graphs_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (graphs_only / "README.md").write_text("a model card that somebody edited")
    before, files = read_manifest(graphs_only), snapshot(graphs_only)
    assert run_command(["build", str(graphs_only), "--target", "tensorrt-rtx", "--json", "-q"]) == 0
    after = verify(graphs_only)
    (engine,) = after.engines
    assert (engine.path, engine.target, engine.status, engine.form) == (ENGINE, "tensorrt-rtx", "built", "plain")
    assert (engine.attention_layers, engine.attention_fused) == (2, 2)
    assert engine.contents is not None
    assert engine.contents.layers == sum(engine.contents.precisions.values()) > 5
    # The embeddings' sum, the norms and the pooling's tail stay fp32; the graph's own list of rules says so too.
    assert engine.contents.fp32_kept >= sum(kept.nodes for kept in after.graphs[0].kept_fp32) > 0
    assert (after.graphs, after.parity, after.model) == (before.graphs, before.parity, before.model)
    assert after.environment == before.environment
    now = snapshot(graphs_only)
    assert set(now) - set(files) == {ENGINE}
    assert {n for n in files if now[n] != files[n]} == {"manifest.json"}
    said = json.loads(capsys.readouterr().out)["engines"]
    assert [(e["path"], e["attention_fused"]) for e in said] == [(ENGINE, 2)]
    assert [p.name for p in graphs_only.parent.iterdir()] == ["a"]
    assert (graphs_only / "README.md").read_text() == "a model card that somebody edited"


def test_buckets_are_profiles_and_a_second_build_replaces_the_first(
    graphs_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["build", str(graphs_only), "--target", "tensorrt-rtx", "-q"]) == 0
    first = snapshot(graphs_only)[ENGINE]
    (tmp_path / "texts.txt").write_text("a b c\n" * 3 + "a b c d e f g h i j k l m n o p q r s t\n")
    given = ["--buckets", "auto", "--texts", str(tmp_path / "texts.txt"), "--batch", "1:2:4"]
    capsys.readouterr()
    assert run_command(["build", str(graphs_only), "--target", "tensorrt-rtx", *given]) == 0
    (engine,) = verify(graphs_only).engines
    assert [p.seq_len.max for p in engine.profiles][-1] == 64
    assert sum(p.share or 0 for p in engine.profiles) == pytest.approx(1)
    assert engine.profiles[0].share == 0.75
    assert f"1 to {engine.profiles[0].seq_len.max} tokens" in capsys.readouterr().out
    assert snapshot(graphs_only)[ENGINE] != first


def test_what_was_said_of_a_replaced_engine_goes_with_it(graphs_only: Path) -> None:
    before = read_manifest(graphs_only)
    executor = Executor(target="tensorrt-rtx", device="gpu")
    checked = msgspec.structs.replace(
        before.parity[0], strategy="mean", dtype="fp16", executor=str(executor), ran_on=executor
    )
    timed = Latency(
        strategy="mean", dtype="fp16", runtime="tensorrt-rtx", workload="1x16", threads=1, median_ms=1.0, q1_ms=1.0,
        q3_ms=1.0, speedup=1.0, sentences_per_s=1.0, tokens_per_s=1.0, increase_mib=None,
    )  # fmt: skip
    free = PaddingFree(path=before.graphs[0].path, nodes=1, faster_below={"tensorrt-rtx": 0.3, "onnxruntime": 0.9})
    graph = msgspec.structs.replace(before.graphs[0], padding_free=free)
    rewrite_manifest(graphs_only, before, graphs=(graph,), parity=(*before.parity, checked), latency=(timed,))
    assert run_command(["build", str(graphs_only), "--target", "tensorrt-rtx", "-q"]) == 0
    after = read_manifest(graphs_only)
    assert (after.parity, after.latency) == (before.parity, ())
    assert after.graphs[0].padding_free == msgspec.structs.replace(free, faster_below={"onnxruntime": 0.9})


def test_an_artifact_with_a_git_folder_is_not_replaced(
    graphs_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exchange would delete what is not part of it."""
    (graphs_only / ".git").mkdir()
    (graphs_only / ".git/HEAD").write_text("ref: refs/heads/main")
    (graphs_only / "NOTES.md").write_text("a model card")
    arguments = ["build", str(graphs_only), "--target", "tensorrt-rtx", "-q"]
    assert run_command(arguments) == 2
    assert "would be lost: '.git/', 'NOTES.md'. Write the result elsewhere with -o." in capsys.readouterr().err
    assert run_command([*arguments, "-o", str(tmp_path / "b"), "--compute-capability", "8.9"]) == 0
    assert not (tmp_path / "b/.git").exists()


def test_the_result_can_go_elsewhere(graphs_only: Path, tmp_path: Path) -> None:
    before = snapshot(graphs_only)
    arguments = ["build", str(graphs_only), "--target", "tensorrt-rtx", "-q", "-o", str(tmp_path / "b")]
    assert run_command([*arguments, "--compute-capability", "8.9"]) == 0
    assert snapshot(graphs_only) == before
    assert [e.compute_capabilities for e in verify(tmp_path / "b").engines] == [("8.9",)]
    # Two artifacts share no file: what happens to one is not the other's affair.
    assert (tmp_path / "b" / "config.json").stat().st_nlink == 1
    assert run_command(arguments) == 2  # not empty any more


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--target", "tensorrt-rtx", "--strategy", "cls"], 2, "no graph for --strategy cls; it has mean"),
        (["--target", "tensorrt-rtx", "--dtype", "fp32"], 2, "no graph for --dtype fp32; it has fp16"),
        (["--target", "tensorrt-rtx", "--builder-level", "1"], 2, "--builder-level is not an option of target"),
        (["--target", "tensorrt-rtx", "--compute-capability", "9.0"], 2, "9.0 is not one that TensorRT-RTX"),
        (["--target", "tensorrt-rtx", "--buckets", "32,999"], 2, "the model's limit of 64"),
        (["--target", "tensorrt-rtx", "--buckets", "auto"], 2, "--texts FILE"),
        (["--target", "tensorrt-rtx", "--buckets", "3,x"], 2, "expected lengths such as 32,64,128, or auto"),
        (["--target", "onnxruntime"], 2, "'onnxruntime' is unknown; expected one of tensorrt, tensorrt-rtx"),
        (["--target", "tensorrt"], 3, "target tensorrt is not available here"),
    ],
)
def test_bad_input_changes_nothing(
    graphs_only: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(graphs_only)
    assert run_command(["build", str(graphs_only), *arguments]) == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert snapshot(graphs_only) == before
    assert [p.name for p in graphs_only.parent.iterdir() if p.is_dir()] == ["a"]


def test_a_build_that_fails_changes_nothing(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16")
    (tmp_path / "a" / manifest.graphs[0].path).write_bytes(b"no graph")
    rewrite_manifest(tmp_path / "a", manifest, files=relist(tmp_path / "a", manifest, manifest.graphs[0].path))
    before = snapshot(tmp_path / "a")
    assert run_command(["build", str(tmp_path / "a"), "--target", "tensorrt-rtx"]) == 2
    assert "cannot parse" in capsys.readouterr().err
    assert snapshot(tmp_path / "a") == before


def test_a_changed_artifact_and_a_missing_library_are_refused(
    graphs_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(graphs_only / "config.json", graphs_only / "extra.json")
    assert run_command(["build", str(graphs_only), "--target", "tensorrt-rtx"]) == 2
    assert "extra.json" in capsys.readouterr().err
    (graphs_only / "extra.json").unlink()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert run_command(["build", str(graphs_only), "--target", "tensorrt-rtx"]) == 3
    assert how_to_install("tensorrt-rtx") in capsys.readouterr().err
