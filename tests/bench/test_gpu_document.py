from bench.batches import ON_GPU
from bench.document import document as written
from bench.gpu.__main__ import exit_code
from bench.results import read, write
from tests.bench.fabricated import COMPILED, EAGER, ORT, RTX
from tests.bench.fabricated import gpu_model as model
from tests.bench.fabricated import gpu_results as results

TIMES = {EAGER: (10.0,) * 3, COMPILED: (6.0,) * 3, RTX: (2.0,) * 3, ORT: (5.0,) * 3}


def document(found):
    return written(found, ON_GPU)


def timed(**given):
    return model(lambda label, w: TIMES[label], **given)


def test_each_goal_says_reached_or_missed_and_by_how_much():
    text = document(results(timed()))
    heads, row = f"| goal | {RTX} | {ORT} | best |", "| 32x128 ragged | mean | 1.50 | 3.00 [3.00, 3.00] reached |"
    assert heads in text
    assert row in text
    assert f"- 1x128, mean, {ORT}: 2.000 where 3.00 is wanted, 33.3% short" in text
    assert "Speed: 6 goals reached, 3 missed." in text


def test_the_report_answers_for_tensorrt_rtx_before_all_models():
    text = document(results(timed()))
    answer = text.index("- a model: runs; smallest row cosine 0.999900")
    assert text.index("Does tensorrt-rtx load and run our engine on this card?") < answer < text.index("## a model")


def test_rates_are_shares_of_the_cards_own():
    text = document(results(timed()))
    # 2e9 operations in 2 ms are 1e12 a second of 1e12.
    assert f"| {RTX} |{' 1e+03 (100%) |' * 5}" in text
    # 32 texts in 2 ms.
    assert f"| {RTX} |{' 16000; 2.5 |' * 5}" in text
    assert f"| {RTX}, mean | 0.9999000 |" in text
    assert f"| {RTX} | mean | 32x512 | 300 |" in text


def test_what_did_not_run_is_named_with_its_reason():
    text = document(results(timed(missing={RTX: "the library refuses this card"})))
    assert f"- {RTX}, mean: the library refuses this card" in text
    assert f"\n| {RTX}" not in text


def test_wrong_vectors_are_marked_and_end_with_1():
    wrong = results(timed(cosines={RTX: 0.9}))
    assert "0.9000000 **fails**" in document(wrong)
    assert exit_code(wrong) == 1
    assert exit_code(results(timed())) == 0, "a goal that is missed is a result"


def test_a_peers_wrong_vectors_are_not_ours():
    assert exit_code(results(timed(cosines={COMPILED: 0.9}))) == 0


def test_an_unmeasured_model_and_failed_windows_end_with_1():
    unmeasured = results(timed(), unmeasured={"bert-base": "no memory"})
    assert exit_code(unmeasured) == 1
    assert "- bert-base: no memory" in document(unmeasured)
    failed = results(timed(timed=False, failed="it hung"))
    assert exit_code(failed) == 1
    assert "The windows failed: it hung" in document(failed)


def test_a_trial_on_a_processor_and_half_a_run_say_so():
    assert "It says nothing of a GPU" in document(results(timed(), device="cpu"))
    assert "ended before it was complete" in document(results(timed(timed=False), complete=False))
    whole = document(results(timed()))
    assert "nothing of a GPU" not in whole
    assert "before it was complete" not in whole


def test_results_come_back_from_their_file(tmp_path):
    path = tmp_path / "results" / "gpu.json"
    write(results(timed()), path)
    write(results(timed(), complete=False), path)
    assert read(path) == results(timed(), complete=False)
    assert [p.name for p in path.parent.iterdir()] == ["gpu.json"]
