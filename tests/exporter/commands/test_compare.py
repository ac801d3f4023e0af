"""`poolfold compare`: the right strategy where it is known, what scripts read, what a second run takes over."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.commands.cli import run_command
from exporter.comparison import cost_stage
from exporter.measure import disturbance, report
from tests.artifacts import write_artifact
from tests.browser import needs_chromium
from tests.conftest import ThisProcess
from tests.exporter.comparison.synthetic import cls_model, mean_model, pairs_file
from tests.exporter.reporting.looks import check_page
from tests.foreign import foreign_folder, torchscript_encoder
from tests.models import plain_checkpoint, tiny_checkpoint

pytestmark = pytest.mark.e2e

Run = Callable[..., dict[str, Any]]
FAST = ("--skip-cost", "--dtype", "fp32")


@pytest.fixture(autouse=True)
def here(in_this_process: None, calm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exported, is exported in this process; only `compared` starts its own, as users do."""
    monkeypatch.setattr(cost_stage, "OwnProcess", ThisProcess)


@pytest.fixture(scope="module")
def calm() -> Iterator[None]:
    """Times that are kept, however busy the machine is that runs these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disturbance, "LIMIT", math.inf)
        patch.setattr(report, "_MOST_SPREAD", math.inf)
        yield


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        assert run_command(["compare", *map(str, arguments), "--json", "--threads", "1"]) == code, capsys.readouterr()
        out, err = capsys.readouterr()
        return json.loads(out) if out else {"error": err}

    return run


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pairs_file(tmp_path_factory.mktemp("data") / "pairs.tsv")


def all_of(*names: str) -> list[str]:
    return [part for name in names for part in ("--pooling", name)]


@pytest.mark.parametrize(("make", "right", "wrong"), [(cls_model, "cls", "mean"), (mean_model, "mean", "cls")])
@pytest.mark.parametrize("trained", ["cls", "mean"])
def test_the_strategy_that_carries_the_signal_is_preferred_whatever_was_trained(
    make: Callable[[Path, str], Path], right: str, wrong: str, trained: str, pairs: Path, compare: Run, tmp_path: Path
) -> None:
    model = make(tmp_path / "model", trained)
    found = compare(model, "--data", pairs, *FAST, *all_of("cls", "mean"), "-o", tmp_path / "out")
    assert found["verdict"]["recommended"] == right
    assert (found["verdict"]["significant"], found["verdict"]["outcome"]) == (True, "ahead")
    assert found["trained"] == trained
    good, bad = (found["strategies"][name]["spearman"] for name in (right, wrong))
    assert good["low"] > bad["high"]
    assert good["low"] <= good["value"] <= good["high"]
    command = shlex.split(found["verdict"]["next"])
    assert command == ["poolfold", "export", str(model), "-o", "DIR", "--pooling", right, "--dtype", "fp32"]


def test_strategies_that_are_the_same_are_not_told_apart(pairs: Path, compare: Run, tmp_path: Path) -> None:
    # The mean, and the mean times the root of the length: cosines are the same.
    model = mean_model(tmp_path / "model", "mean_sqrt_len_tokens")
    names = all_of("mean", "mean_sqrt_len_tokens")
    found = compare(model, "--data", pairs, *FAST, *names, "-o", tmp_path / "out")
    assert (found["verdict"]["significant"], found["verdict"]["outcome"]) == (False, "level")
    assert found["verdict"]["recommended"] == "mean_sqrt_len_tokens"
    assert found["verdict"]["margin"] == 0.01
    assert "wholly within the margin of 0.01" in " ".join(found["verdict"]["reasons"])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, pairs: Path, calm: None) -> Path:
    """Everything, on a tiny model: defaults, cost included."""
    folder = tmp_path_factory.mktemp("compared")
    tiny_checkpoint(folder / "model")
    data = folder / "pairs.jsonl"
    rows = [line.split("\t") for line in pairs.read_text().splitlines()[1:]]
    data.write_text(
        "\n".join(
            json.dumps({"text1": a, "text2": b, "score": float(s), "language": ("x", "y")[n % 2]})
            for n, (a, b, s) in enumerate(rows)
        )
    )
    assert run_command(command(folder)) == 0
    return folder


def command(folder: Path) -> list[str]:
    options = ["--seconds", "1", "--threads", "1"]
    return [
        "compare",
        str(folder / "model"),
        "--data",
        str(folder / "pairs.jsonl"),
        "-o",
        str(folder / "out"),
        *options,
    ]


def test_what_scripts_read(compared: Path) -> None:
    found = json.loads((compared / "out" / "compare.json").read_text())
    assert (found["task"], found["metric"], found["units"], found["dtype"]) == ("pairs", "spearman", 120, "fp32")
    assert set(found["strategies"]) == {"mean", "cls", "max"}
    for metrics in found["strategies"].values():
        assert set(metrics) == {"spearman", "pearson"}
        assert all(set(value) == {"value", "low", "high"} for value in metrics.values())
    assert set(found["precisions"]) == {"mean", "cls", "max"}
    for name, of in found["precisions"].items():
        assert set(of) == {"fp16"}
        assert set(of["fp16"]) == {"spearman", "pearson", "against_first"}
        moved = of["fp16"]["spearman"]["value"] - found["strategies"][name]["spearman"]["value"]
        assert of["fp16"]["against_first"]["value"] == pytest.approx(moved, abs=1e-9)
        assert abs(moved) < 0.05
    assert {(part["by"], part["name"]) for part in found["parts"]} >= {("language", "x"), ("language", "y")}
    assert found["entries"]["mean"]["trained"] is True
    assert found["entries"]["mean"]["bytes"]["fp16"] < found["entries"]["mean"]["bytes"]["fp32"]


def test_cost_has_every_system_at_every_length(compared: Path) -> None:
    cost = json.loads((compared / "out" / "compare.json").read_text())["cost"]
    graphs = {f"{name} {dtype}" for name in ("mean", "cls", "max") for dtype in ("fp32", "fp16")}
    systems = {"pytorch fp32", "token embeddings fp32", *graphs}
    assert {system["name"] for system in cost["latency"]["systems"]} == systems
    assert {shape["name"] for shape in cost["latency"]["workloads"]} == {"1x16", "1x64", "16x16", "16x64"}
    assert all(timing["latency_ms"]["median"] > 0 for timing in cost["latency"]["timings"])
    assert len(cost["latency"]["timings"]) == 8 * 4
    assert set(cost["memory"]) == systems
    assert all(set(lengths) == {"16", "64"} for lengths in cost["memory"].values())


@needs_chromium
def test_the_page(compared: Path, tmp_path: Path) -> None:
    text = check_page(compared / "out" / "report.html", tmp_path)
    found = json.loads((compared / "out" / "compare.json").read_text())
    assert found["verdict"]["recommended"] in text
    assert found["verdict"]["next"] in text
    assert " ".join(found["verdict"]["reasons"]) in text
    for title in ("Quality", "Speed and memory", "How the vectors lie", "By language"):
        assert title in text
    value = found["strategies"]["cls"]["spearman"]
    assert f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]" in text
    plots = {path.name for path in (compared / "out").glob("*.png")}
    assert plots >= {"quality.png", "latency.png", "memory.png", "cosines.png", "pairs.png", "trade-off.png"}


def test_a_second_run_takes_over_what_has_not_changed(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((compared / "out" / "compare.json").read_text())
    assert run_command(command(compared)) == 0
    out, err = capsys.readouterr()
    assert "has not changed" in err
    assert "0 computed, 6 kept from before" in err
    assert "cost       kept from before" in err
    assert "model: 120 pairs, ranked by spearman, fp32" in out
    assert json.loads((compared / "out" / "compare.json").read_text()) == before


def test_the_table_fits_a_terminal_and_its_labels_name_what_was_timed(compared: Path, capsys: Any) -> None:
    assert run_command(command(compared)) == 0
    table, _, below = capsys.readouterr().out.partition("\n*:")
    title, *lines = [line.rstrip() for line in table.splitlines() if line.strip()]
    assert title == "model: 120 pairs, ranked by spearman, fp32"
    assert max(len(line) for line in lines) <= 80
    assert lines[0].split() == ["strategy", "spearman", "verdict", "16x64", "ms", "MiB", "disk"]
    assert len(lines) == 2 + 3
    below = " ".join(below.split())
    assert "16x64 ms: 16 texts of 64 tokens, median, ONNX Runtime on the CPU." in below
    assert "MiB: what model and 16 texts of 64 tokens add to a process." in below


@needs_chromium
def test_what_was_left_out_or_disturbed_is_said_and_claims_nothing(compared: Path, tmp_path: Path, capsys: Any) -> None:
    (kept,) = (compared / "out").glob("cost_*.json")
    before = kept.read_bytes()
    cost = json.loads(before)
    cost["latency"]["left_out"] = {"16x512": "needs about 60 s, and 1 s were left"}
    for timing in cost["latency"]["timings"]:
        timing["disturbed"] = timing["workload"] == "16x64"
    kept.write_text(json.dumps(cost))
    try:
        assert run_command(command(compared)) == 0
        out = capsys.readouterr().out
        text = check_page(compared / "out" / "report.html", tmp_path)
    finally:
        kept.write_bytes(before)
    for shown in (out, text):
        said = " ".join(shown.split())
        assert (
            "Not timed (texts x tokens): 16x512 needs about 60 s, and 1 s were left. --seconds gives more time." in said
        )
        assert "8 of 32 times cannot be relied on and are marked ?. Nothing is said by them." in said
    assert len(re.findall(r" [0-9.]+[?] ", out)) == 3
    reasons = json.loads((compared / "out" / "compare.json").read_text())["verdict"]["reasons"]
    assert not re.search(r"\bms\b|fast", " ".join(reasons))


def test_where_cost_fails_quality_stays(
    pairs: Path, compared: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("exporter.measure.warm_up.LOAD_LIMIT_S", 0.001)
    run = ["compare", str(compared / "out" / "artifact"), "--data", str(pairs), "--dtype", "fp32", "--threads", "1"]
    assert run_command([*run, "-o", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "warning: speed and memory were not measured: measuring" in err
    assert "Speed and memory were not measured: measuring" in out
    assert "120 pairs, ranked by spearman" in out
    assert "They were not measured: measuring" in (tmp_path / "out" / "report.html").read_text()
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert found["cost"] is None
    assert found["no_cost"].startswith("not measured: measuring")


def test_what_has_changed_is_done_anew(compared: Path, tmp_path: Path, compare: Run, capsys: Any) -> None:
    folder = tmp_path / "again"
    folder.mkdir()
    data = folder / "pairs.jsonl"
    lines = (compared / "pairs.jsonl").read_text().splitlines()
    data.write_text("\n".join(lines))
    tiny_checkpoint(folder / "model")
    run = (folder / "model", "--data", data, *FAST, *all_of("mean"), "-o", folder / "out")
    first = compare(*run)["strategies"]["mean"]["spearman"]
    data.write_text("\n".join(lines[:60]))
    half = compare(*run)["strategies"]["mean"]["spearman"]
    assert half != first
    data.write_text("\n".join(lines))
    assert compare(*run)["strategies"]["mean"]["spearman"] == first
    tiny_checkpoint(folder / "model", seed=5)
    assert compare(*run)["strategies"]["mean"]["spearman"] != first


def test_what_is_half_written_is_done_anew(compared: Path, compare: Run) -> None:
    before = json.loads((compared / "out" / "compare.json").read_text())
    for path in (compared / "out").glob("vectors/*.npy"):
        path.write_bytes(path.read_bytes()[:200])
    (cost,) = (compared / "out").glob("cost_*.json")
    cost.write_bytes(cost.read_bytes()[:-100])
    (compared / "out" / "artifact" / "tokenizer.json").write_text("{")
    (compared / "out" / ".token_embeddings_killed").mkdir()
    assert run_command(command(compared)) == 0
    found = json.loads((compared / "out" / "compare.json").read_text())
    assert found["strategies"] == before["strategies"]
    assert not list((compared / "out").glob(".token_embeddings_*"))


def test_an_artifact_is_taken_as_it_is_and_another_model_beside_it(
    compared: Path, compare: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = cls_model(tmp_path / "student", "cls")
    artifact, data = compared / "out" / "artifact", compared / "pairs.jsonl"
    found = compare(artifact, "--against", other, "--data", data, *FAST, "-o", tmp_path / "out")
    assert set(found["strategies"]) == {"mean", "cls", "max", "student cls"}
    assert found["verdict"]["recommended"] == "student cls"
    assert found["verdict"]["significant"] is True
    assert str(other) in found["verdict"]["next"]
    assert found["trained"] == "mean"
    only = compare(artifact, "--data", data, *FAST, *all_of("trained", "cls"), "-o", tmp_path / "two")
    assert set(only["strategies"]) == {"mean", "cls"}
    # What the user has already needs no export.
    assert only["verdict"]["next"] is None
    assert run_command(["compare", str(artifact), "--data", str(data), *FAST, "-o", str(tmp_path / "two")]) == 0
    out = capsys.readouterr().out
    assert f"{artifact} has it already: load it with strategy='" in " ".join(out.split())
    assert "poolfold export" not in out


def test_the_next_command_allows_what_was_allowed(pairs: Path, compare: Run, tmp_path: Path) -> None:
    run = ("--data", pairs, *FAST, *all_of("mean"), "--allow-pickle", "--tokenizer", "transformers")
    found = compare(tiny_checkpoint(tmp_path / "model"), *run, "-o", tmp_path / "out")
    assert found["verdict"]["next"].endswith("--dtype fp32 --allow-pickle --tokenizer transformers")
    assert (found["verdict"]["outcome"], found["verdict"]["significant"]) == (None, False)
    assert found["verdict"]["reasons"][-1] == "mean is the only strategy compared."


def test_another_limit_of_length_is_other_vectors(pairs: Path, compare: Run, tmp_path: Path) -> None:
    # Graph, weights and tokeniser are the same: only sentence_bert_config.json differs.
    run = ("--data", pairs, *FAST, *all_of("mean"), "-o", tmp_path / "out")
    whole = compare(tiny_checkpoint(tmp_path / "model"), *run)["strategies"]
    assert compare(tiny_checkpoint(tmp_path / "model", max_seq_length=5), *run)["strategies"] != whole


def faq(folder: Path) -> Path:
    path = folder / "faq.csv"
    path.write_text("question,answer\n" + "".join(f"a b {x},{x} c d\n" for x in "efghijklmnop"))
    return path


def triplets(folder: Path) -> Path:
    path = folder / "triplets.csv"
    path.write_text("anchor,positive,negative\n" + "".join(f"a {x},{x} b,c d\n" for x in "efghijklmnop"))
    return path


@needs_chromium
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("labels.csv", "accuracy"),
        ("retrieval", "ndcg@10"),
        ("texts.txt", None),
        (faq, "ndcg@10"),
        (triplets, "accuracy"),
    ],
)
def test_every_kind_of_data(name: Any, metric: str | None, compared: Path, compare: Run, tmp_path: Path) -> None:
    data = name(tmp_path) if callable(name) else Path(__file__).parents[2] / "data" / name
    found = compare(compared / "out" / "artifact", "--data", data, *FAST, "-o", tmp_path / "out")
    assert (found["metric"], found["verdict"]["metric"]) == (metric, metric)
    text = check_page(tmp_path / "out" / "report.html", tmp_path)
    assert "They were left out (--skip-cost)." in text
    if metric is not None:
        assert re.search(f"{metric} on [0-9]+ [a-z]+ decides", text)
        searched = metric == "ndcg@10"
        forms = [(precision, again) for precision in ("int8", "binary") for again in (False, True)]
        assert [(of["precision"], of["rescored"]) for of in found["small_indexes"]] == forms * searched
        assert ("A smaller index" in text) == searched
        return
    assert (found["verdict"]["recommended"], found["verdict"]["significant"]) == ("mean", False)
    assert found["leads"] == []
    # No agreement of a strategy with itself.
    assert {name for name, of in found["strategies"].items() if "agreement" in of} == {"cls", "max"}
    assert not re.search("significant|decides|ahead|not settled", text)


def test_prompts_of_queries_and_documents_are_put_before_them(compare: Run, tmp_path: Path) -> None:
    data = Path(__file__).parents[2] / "data" / "retrieval"
    runs = [
        compare(
            tiny_checkpoint(tmp_path / f"m{n}", prompts=prompts), "--data", data, *FAST, *all_of("mean"),
            "-o", tmp_path / f"out{n}",
        )["strategies"]["mean"]
        for n, prompts in enumerate(({"query": "", "document": ""}, {"query": "query query ", "document": "text "}, {}))
    ]  # fmt: skip
    assert runs[0] != runs[1]
    assert runs[0] == runs[2]


def test_a_strategy_that_the_head_cannot_take_is_left_out_and_said(pairs: Path, tmp_path: Path, capsys: Any) -> None:
    from tests.models import DenseLayer

    model = tiny_checkpoint(tmp_path / "model", pooling=["cls", "mean"], dense=[DenseLayer(16)])
    assert run_command(["compare", str(model), "--data", str(pairs), *FAST, "-o", str(tmp_path / "out")]) == 0
    err = capsys.readouterr().err
    assert "warning: max is left out" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "none.csv"], "none.csv does not exist"),
        (["--data", "few.csv"], "has 1 pair; expected 10 at least"),
        (["--data", "bad.csv"], "bad.csv, line 3: score is 'x'"),
        (["--data", "good.tsv", "--pooling", "first"], "first"),
        (["--data", "good.tsv", "--kind", "labels"], "expected text, label (labels)"),
        (["--data", "good.tsv", "--margin", "0"], "the margin is 0; expected points of a metric"),
        (["--data", "good.tsv", "-o", "full"], "holds other things than a comparison"),
        (["--data", "good.tsv", "-o", "good.tsv"], "good.tsv"),
        (["--data", "good.tsv", "-o", "artifact"], "holds other things than a comparison"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    arguments: list[str], says: str, pairs: Path, checkpoint: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.csv").write_text("text1,text2,score\na,b,1\n")
    Path("bad.csv").write_text("text1,text2,score\na,b,1\na,b,x\n")
    Path("good.tsv").write_text(pairs.read_text())
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    write_artifact(Path("artifact"))
    before = sorted(path for path in tmp_path.rglob("*"))
    assert (
        run_command(
            ["compare", str(checkpoint), *arguments, "--skip-cost", *([] if "-o" in arguments else ["-o", "o"])]
        )
        == 2
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert sorted(tmp_path.rglob("*")) == before


def test_bare_texts_are_held_against_the_trained_strategy_and_need_one(tmp_path: Path, compare: Run) -> None:
    data = Path(__file__).parents[2] / "data" / "texts.txt"
    model = tiny_checkpoint(tmp_path / "model")
    found = compare(model, "--data", data, *FAST, *all_of("cls"), "-o", tmp_path / "out")
    assert set(found["strategies"]) == {"cls", "mean"}
    assert "agreement" not in found["strategies"]["mean"]
    plain = plain_checkpoint(tmp_path / "plain")
    refused = compare(plain, "--data", data, *FAST, "-o", tmp_path / "none", code=2)
    assert "does not say" in refused["error"]
    assert not (tmp_path / "none").exists()


def test_a_checkpoint_that_does_not_say_how_it_was_trained(pairs: Path, tmp_path: Path, compare: Run) -> None:
    found = compare(plain_checkpoint(tmp_path / "plain"), "--data", pairs, *FAST, "-o", tmp_path / "out")
    assert found["trained"] is None
    assert set(found["strategies"]) == {"cls", "mean", "max"}


def test_an_artifact_whose_model_is_gone_is_measured_by_itself(tmp_path: Path, pairs: Path, capsys: Any) -> None:
    model = tiny_checkpoint(tmp_path / "model")
    options = ["--data", str(pairs), "--dtype", "fp32", "--threads", "1"]
    names = all_of("cls", "mean")
    assert run_command(["compare", str(model), *options, *names, "--skip-cost", "-o", str(tmp_path / "out")]) == 0
    shutil.move(model, tmp_path / "elsewhere")
    capsys.readouterr()
    again = [str(tmp_path / "out" / "artifact"), *options, "--seconds", "1", "--json", "-o", str(tmp_path / "two")]
    assert run_command(["compare", *again]) == 0
    out, err = capsys.readouterr()
    assert "What the model costs without poolfold is not measured" in err
    assert "--model" not in err
    systems = {system["name"] for system in json.loads(out)["cost"]["latency"]["systems"]}
    assert systems == {"cls fp32", "mean fp32"}


def test_an_onnx_file_is_compared_as_a_checkpoint_is(tmp_path: Path, pairs: Path, compare: Run) -> None:
    model = foreign_folder(tmp_path / "m", torchscript_encoder())
    names = all_of("cls", "mean", "max")
    found = compare(model, "--data", pairs, "--dtype", "fp32", "--seconds", "1", *names, "-o", tmp_path / "out")
    assert {"cls", "mean", "max"} <= set(found["strategies"])
    assert "original graph fp32" in {system["name"] for system in found["cost"]["latency"]["systems"]}
