"""The tables of an artifact, cell by cell and as they look at several widths, and its JSON.

The pictures are in `tables/`: `UPDATE_TABLES=1 pytest tests/exporter/commands/test_artifact_table.py` writes them anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from exporter.commands.artifact_table import as_json, print_table
from exporter.commands.engine_table import print_engines, print_graphs
from exporter.host.console import Console
from poolfold.manifest import Manifest
from tests.artifacts import write_artifact
from tests.exporter.commands import manifests
from tests.exporter.commands.manifests import engine, latency, parity, with_engines

HEADER = ["strategy", "dtype", "target", "status", "at least", "shared"]
PICTURES = Path(__file__).parent / "tables"
WIDTHS = (80, 100, 120, 200)
LONG = Path("a/very/long/way/to/the/folder/where/artifacts/lie/all-MiniLM-L6-v2-with-a-name-that-goes-on-and-on")
ARTIFACTS: dict[str, tuple[Callable[[Path], Manifest], Path]] = {
    "demo": (manifests.demo, Path("artifacts/all-MiniLM-L6-v2")),
    "everything": (manifests.everything, LONG),
    "unmeasured": (manifests.unmeasured, Path("out")),
}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    checks = (
        parity("mean", "fp32", 0.99999991, 1.0),
        parity("mean", "fp16", 0.9999, 1.0),
        parity("mean", "fp16", 0.9995, 0.995, "fp16 rehearsal on onnxruntime cpu"),
    )
    return write_artifact(tmp_path / "a", strategies=("mean", "cls"), dtypes=("fp32", "fp16"), parity=checks)


@pytest.fixture(params=ARTIFACTS)
def shown(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """What `inspect` prints of an artifact in a terminal of a width."""
    make, directory = ARTIFACTS[request.param]
    made = make(tmp_path / "b")

    def show(width: int, *, wide: bool = False) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        console = Console(wide=wide)
        print_table(made, directory, console)
        print_graphs(made, console, insides=wide)
        print_engines(made, console, insides=wide)
        return capsys.readouterr().out

    show.__name__ = request.param
    return show


def table(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> tuple[list[list[str]], str]:
    """The header's last line and the rows, cells apart, and all that was printed."""
    print_table(manifest, Path("out"), Console(wide=True))
    out = capsys.readouterr().out
    lines = out.split("\n\n")[0].splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == ["strategy"])
    return [re.split(r"\s{2,}", line.strip()) for line in [lines[start], *lines[start + 2 :]]], out


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_look_as_in_the_pictures(shown: Callable[..., str], width: int) -> None:
    picture = PICTURES / f"{shown.__name__}-{width}.txt"
    out = shown(width)
    if "UPDATE_TABLES" in os.environ:
        picture.write_text(out, encoding="utf-8")
    assert out == picture.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 81, 93, 100, 119, 120, 160, 200, 300])
def test_no_line_is_too_long_and_no_word_broken(shown: Callable[..., str], width: int) -> None:
    out, all_of_it = shown(width), shown(width, wide=True)
    assert [line for line in out.splitlines() if len(line) > width and str(LONG) not in line] == []
    assert _candidates(out) == _candidates(all_of_it) != []
    for word in ("onnxruntime", "tensorrt-rtx", "validated", "trained", "reference", "mean_sqrt_len_tokens"):
        assert (word in out) == (word in all_of_it)


def _candidates(out: str) -> list[list[str]]:
    """What each row of the first table begins with: strategy, dtype, target, status."""
    lines = out.split("\n\n")[0].splitlines()
    return [line.split()[:4] for line in lines[next(i for i, line in enumerate(lines) if line[:1] == "─") + 1 :]]


def test_more_is_shown_where_there_is_more_room(shown: Callable[..., str]) -> None:
    columns = [len(shown(width).splitlines()[2].split()) for width in (80, 100, 120, 200)]
    assert columns == sorted(columns)


def test_the_demos_artifact_is_one_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    demo, console = manifests.demo(tmp_path / "b"), Console()
    # What a busy machine adds.
    reasons = {name: f"needs about {i} s, and 10 s were left of 90" for i, name in enumerate(manifests.WORKLOADS[1:4])}
    reasons["padding"] = "cls fp32 on onnxruntime, cls fp16 on onnxruntime: needs about 27 s, and 8 s were left"
    rows = tuple(msgspec.structs.replace(row, disturbed=True) for row in demo.latency)
    made = msgspec.structs.replace(demo, latency=rows, latency_left_out=reasons)
    print_table(made, ARTIFACTS["demo"][1], console)
    print_graphs(made, console, insides=False)
    print_engines(made, console, insides=False)
    assert len(capsys.readouterr().out.splitlines()) <= 45


def test_a_row_for_each_graph(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    (header, *rows), out = table(manifest, capsys)
    assert header == HEADER
    assert rows == [
        ["mean", "fp32", "onnxruntime", "validated", "0.9999999", "1.000"],
        ["mean", "fp16", "onnxruntime", "validated", "0.9995000", "0.995"],
        ["cls", "fp32", "onnxruntime", "validated", "-", "-"],
        ["cls", "fp16", "onnxruntime", "validated", "-", "-"],
    ]
    assert "out: tests/table (table, 0 layers, 8 dimensions, up to 16 tokens)" in out
    assert "trained with mean; an untrained one (cls)" in " ".join(out.split())


def test_an_engine_is_built_and_has_no_vectors(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    forms = [engine("mean", "fp16", "tensorrt-rtx", form=form) for form in ("plain", "packed")]
    (_, *rows), out = table(with_engines(manifest, *forms), capsys)
    assert rows[2] == ["mean", "fp16", "tensorrt-rtx", "built", "-", "-"]
    assert rows[3][0] == "cls", "two forms are one candidate"
    assert "its vectors have not been checked" in " ".join(out.split())
    assert "built" not in table(manifest, capsys)[1]


def test_one_form_that_did_not_run_is_no_validated_candidate(
    manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    forms = [
        engine("mean", "fp16", "tensorrt-rtx", form=f, status=s)
        for f, s in (("plain", "validated"), ("packed", "built"))
    ]
    assert table(with_engines(manifest, *forms), capsys)[0][3][3] == "built"


def test_an_engine_that_ran_here_has_figures_of_its_own(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    ran = [engine("mean", dtype, "openvino", status="validated") for dtype in ("fp32", "bf16")]
    parities = (
        *manifest.parity,
        parity("mean", "fp32", 0.9999998, 1.0, "openvino cpu"),
        parity("mean", "bf16", 0.9996, 0.99, "openvino cpu"),
    )
    latencies = (
        latency("fp32", "onnxruntime", "1x128", 10.0, 2.0, 95.0),
        latency("bf16", "openvino", "1x128", 5.0, 4.0, 80.0),
    )
    ran_here = msgspec.structs.replace(with_engines(manifest, *ran), parity=parities, latency=latencies)
    (_, *rows), out = table(ran_here, capsys)
    assert rows[1] == ["mean", "fp32", "onnxruntime", "validated", "0.9999999", "1.000", "10.0 (2.00x)", "95"]
    assert rows[3:5] == [
        ["mean", "fp32", "openvino", "validated", "0.9999998", "1.000", "-", "-"],
        ["mean", "bf16", "openvino", "validated", "0.9996000", "0.990", "5.00 (4.00x)", "80"],
    ]
    assert "how OpenVINO executes the fp32 graph" in out
    assert "OpenVINO" not in table(manifest, capsys)[1]


def test_latency_stands_beside_pytorchs(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (
        latency("fp32", "pytorch", "1x7", 9.0, 1.0, 130.0),
        latency("fp32", "pytorch", "32x128", 400.0, 1.0, 130.0),
        latency("fp32", "onnxruntime", "1x7", 4.504, 1.996, 95.4),
        latency("fp16", "onnxruntime", "1x7", 18.0, 0.5, None),
    )
    (header, *found), out = table(msgspec.structs.replace(manifest, latency=rows), capsys)
    assert header == [*HEADER, "ms (ratio)", "ms (ratio)", "MiB"]
    assert "1x7" in out.splitlines()[1], "what was measured is shown, whichever workload it is"
    assert found[:3] == [
        ["mean", "fp32", "pytorch", "reference", "-", "-", "9.00 (1.00x)", "400 (1.00x)", "130"],
        ["mean", "fp32", "onnxruntime", "validated", "0.9999999", "1.000", "4.50 (2.00x)", "-", "95"],
        ["mean", "fp16", "onnxruntime", "validated", "0.9995000", "0.995", "18.0 (0.50x)", "-", "-"],
    ]
    assert found[3] == ["cls", "fp32", "pytorch", "reference", "-", "-", "-", "-", "-"]
    assert "median, 3 threads" in out


def test_what_stayed_disturbed_is_marked_and_told(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        latency("fp32", "pytorch", "1x128", 20.0, 1.0, None),
        latency("fp32", "onnxruntime", "1x128", 4.1, 4.87, None),
    ]
    assert "?" not in table(msgspec.structs.replace(manifest, latency=tuple(rows)), capsys)[1]
    rows[1] = msgspec.structs.replace(rows[1], disturbed=True)
    (_, *found), out = table(msgspec.structs.replace(manifest, latency=tuple(rows)), capsys)
    assert [found[0][6], found[1][6]] == ["20.0 (1.00x)", "4.10 (4.87x?)"]
    assert "(4.87x)" not in out
    assert "neither time nor ratio is a finding" in " ".join(out.split())


def test_what_was_left_out_is_told_with_its_reason(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {"32x512": "it would take 90 s", "1x512": "it would take 90 s", "padding": "no time was left."}
    rows = (latency("fp32", "pytorch", "1x16", 20.0, 1.0, None),)
    out = table(msgspec.structs.replace(manifest, latency=rows, latency_left_out=reasons), capsys)[1]
    assert "32x512, 1x512 left out: it would take 90 s.\n" in out
    assert "Where the padding-free form is faster left out: no time was left.\n" in out
    assert "Latency" not in out
    out = table(msgspec.structs.replace(manifest, latency_left_out={"latency": "--skip-latency"}), capsys)[1]
    assert "Latency and memory left out: --skip-latency.\n" in out
    assert "Latency and memory left out: not measured." in table(manifest, capsys)[1]


def test_fp16_on_a_cpu_is_explained_where_there_is_any(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "rehearsal" in table(manifest, capsys)[1]
    assert "rehearsal" not in table(write_artifact(tmp_path / "b"), capsys)[1]


def test_json_is_the_manifest_without_its_files(manifest: Manifest) -> None:
    fields = as_json(manifest, Path("out"))
    expected = msgspec.to_builtins(manifest)
    del expected["files"]
    assert fields == {"directory": "out", **expected}
