"""`poolfold bench`: times and ratios of an artifact's graphs beside PyTorch."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from exporter.commands.cli import run_command
from exporter.measure.report import LatencyReport, Measured, Shape, memory, timing
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload
from exporter.pipeline import check_artifact
from tests.exporter.commands.copies import copy_with_one_graph
from tests.openvino_here import DTYPES

PYTORCH, OURS = "mean fp32 pytorch", "mean fp32 onnxruntime"


def test_ratios_against_pytorch(
    artifact: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_with_one_graph(artifact, tmp_path / "a")
    assert (
        run_command(
            ["bench", str(tmp_path / "a"), "--model", str(checkpoint), "--seconds", "1", "--threads", "1", "--json"]
        )
        == 0
    )
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["directory"], found["threads"], found["budget_s"]) == (str(tmp_path / "a"), 1, 1)
    assert [(s["name"], s["baseline"]) for s in found["systems"]] == [(PYTORCH, PYTORCH), (OURS, PYTORCH)]
    workloads = [workload["name"] for workload in found["workloads"]]
    assert "32x64 ragged" in workloads
    timings = {(t["system"], t["workload"]): t for t in found["timings"]}
    assert set(timings) == {(system, workload) for system in (PYTORCH, OURS) for workload in workloads}
    for workload in workloads:
        theirs, ours = timings[PYTORCH, workload], timings[OURS, workload]
        assert theirs["speedup"] == {"q1": 1, "median": 1, "q3": 1}
        ratios = [a / b for a, b in zip(theirs["windows_ms"], ours["windows_ms"], strict=True)]
        assert min(ratios) <= ours["speedup"]["q1"] <= ours["speedup"]["median"] <= max(ratios)
        assert ours["latency_ms"]["median"] > 0
    assert f"bench      2 systems, {len(workloads)} workloads, 1 thread" in err


def test_a_target_is_measured_by_itself(
    openvino_artifact: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "bench",
        str(openvino_artifact),
        "--model",
        str(checkpoint),
        "--target",
        "openvino",
        "--seconds",
        "1",
        "--threads",
        "1",
        "--json",
    ]
    assert run_command(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(s["name"], s["runtime"]) for s in found["systems"]] == [
        (f"{name} {dtype} {runtime}", runtime)
        for name in ("mean", "cls")
        for dtype, runtime in (("fp32", "pytorch"), *((dtype, "openvino") for dtype in DTYPES))
    ]
    assert all(timing["latency_ms"]["median"] > 0 for timing in found["timings"])


def report() -> LatencyReport:
    """Two rounds of one workload, ours twice as fast, and a workload that was left out."""
    systems = [
        System(name, "mean", "fp32", runtime, "", {}, PYTORCH)
        for name, runtime in ((PYTORCH, "pytorch"), (OURS, "onnxruntime"))
    ]
    workload = Workload("2x4 [x]", (Batch(np.ones((2, 4), np.int64), np.tri(2, 4, 2, dtype=np.int64)),))
    seconds = {PYTORCH: [[0.008], [0.010]], OURS: [[0.004], [0.005]]}
    return LatencyReport(
        systems=tuple(Measured(s.name, s.strategy, s.dtype, s.runtime, s.baseline) for s in systems),
        workloads=(Shape(workload.name, 2, 4, workload.real_tokens, 2),),
        threads=3, pause_s=0.1, order_seed=0, budget_s=1, seconds=2.0,
        timings=tuple(
            dataclasses.replace(timing(s, workload, seconds[s.name], seconds[PYTORCH]), disturbed=s is systems[1])
            for s in systems
        ),
        memory=(memory(systems[0], workload, 0, 3 << 20), memory(systems[1], workload, None, None)),
        left_out={"32x128": "needs at least 9 s of a budget of 1 s"}, environment={},
    )  # fmt: skip


def test_the_table_has_a_row_for_each_system_and_workload(
    artifact: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_artifact, "measure_artifact", lambda *_, **__: report())
    monkeypatch.setenv("COLUMNS", "200")
    assert run_command(["bench", str(artifact), "--model", str(checkpoint), "--quiet"]) == 0
    out = capsys.readouterr().out
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if "mean fp32" in line]
    assert rows == [
        [PYTORCH, "2x4 [x]", "9.00", "8.50 to 9.50", "(1.00x)", "1.00 to 1.00", "222", "778", "3"],
        [OURS, "2x4 [x]", "4.50", "4.25 to 4.75", "(2.00x?)", "2.00 to 2.00", "444", "1556", "-"],
    ]
    assert "neither time nor ratio is a finding" in out
    assert "32x128 left out: needs at least 9 s of a budget of 1 s.\n" in out
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command(["bench", str(artifact), "--model", str(checkpoint), "--quiet"]) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines()[1:])) <= 80, "below the title, whose path is long"
    assert "Too wide for this terminal: texts/s, real tokens/s" in narrow
