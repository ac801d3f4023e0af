import pytest

from bench.batches import ALONE, FULL, RAGGED, SORTED
from bench.goals import goals, memory_verdicts, verdicts
from bench.systems import EAGER as BASELINE
from bench.systems import OURS
from exporter.measure.quartiles import Quartiles
from tests.bench.fabricated import MIB, even, model, verdict

LIMITS = [
    (6, RAGGED, "cls", 1.8),
    (6, RAGGED, "mean", 1.6),
    (6, FULL, "cls", 1.12),
    (12, FULL, "cls", 1.05),
    (6, FULL, "mean", 0.98),
    (12, FULL, "mean", 0.98),
    (6, SORTED, "cls", 1.15),
    (6, SORTED, "mean", 1.0),
    *((6, workload, strategy, 0.97) for workload in ALONE for strategy in ("cls", "mean")),
]


@pytest.mark.parametrize(("layers", "workload", "strategy", "least"), LIMITS)
@pytest.mark.parametrize("target", ["onnxruntime fp32", "openvino fp32", "openvino bf16", "best fp32"])
def test_each_goal_is_held_on_each_target_from_its_limit_on(layers, workload, strategy, least, target):
    just = verdict(model(even(100.0, 100.0 * least + 1e-9), layers=layers), workload, strategy, target)
    below = verdict(model(even(100.0, 100.0 * least - 0.1), layers=layers), workload, strategy, target)
    assert just.goal.least == least
    assert just.reached is True
    assert below.reached is False


def test_every_goal_is_listed_once_on_every_target():
    found = verdicts(model(even(1.0, 1.0)))
    assert len(found) == len({(v.goal, v.target) for v in found}) == len(goals(6)) * (len(OURS) + 1)
    assert len(LIMITS) - 2 == len(goals(6)), "two of the limits above are for twelve layers"


def test_a_target_meets_the_fastest_peer_of_its_runtime_and_the_best_one_that_of_all():
    ms = {
        BASELINE: 30.0,
        "optimum onnxruntime fp32": 20.0,
        "optimum openvino fp32": 10.0,
        "optimum openvino bf16": 5.0,
        "poolfold onnxruntime fp32": 8.0,
        "poolfold openvino fp32": 4.0,
        "poolfold openvino bf16": 1.0,
    }
    found = model(lambda label, *_: [ms.get(label, 1.0)] * 3)
    compared = {
        target: (v.ours, v.peer, v.ratio.median)
        for target in ("onnxruntime fp32", "openvino fp32", "openvino bf16", "best fp32")
        for v in [verdict(found, FULL, "mean", target)]
    }
    assert compared == {
        "onnxruntime fp32": ("poolfold onnxruntime fp32", "optimum onnxruntime fp32", 2.5),
        "openvino fp32": ("poolfold openvino fp32", "optimum openvino fp32", 2.5),
        "openvino bf16": ("poolfold openvino bf16", "optimum openvino bf16", 5.0),
        "best fp32": ("poolfold openvino fp32", "optimum openvino fp32", 2.5),
    }


@pytest.mark.parametrize("target", ["onnxruntime fp32", "openvino fp32", "best fp32"])
def test_pytorch_counts_in_every_runtime(target):
    found = model(lambda label, *_: [7.0 if label == BASELINE else 9.0] * 3)
    assert verdict(found, RAGGED, "cls", target).peer == BASELINE


def test_a_bf16_target_is_not_held_against_fp32_peers():
    found = model(lambda label, *_: [1.0 if label.endswith("fp32") else 9.0] * 3)
    assert verdict(found, FULL, "cls", "openvino bf16").peer == "optimum openvino bf16"


def test_the_ratio_is_of_the_same_round_and_its_spread_is_told():
    ours, peer = [10.0, 20.0, 40.0], [20.0, 30.0, 120.0]
    found = model(lambda label, *_: ours if label.startswith("poolfold") else peer)
    assert verdict(found, FULL, "mean", "onnxruntime fp32").ratio == Quartiles(1.75, 2.0, 2.5)


def test_what_is_missing_is_said_and_neither_reached_nor_missed():
    reason = "poolfold.load says: unknown target"
    found = model(even(1.0, 2.0), missing={"poolfold openvino fp32": reason, "optimum openvino bf16": "no openvino"})
    ours = verdict(found, FULL, "cls", "openvino fp32")
    assert ours.reached is None
    assert ours.missing == f"poolfold openvino fp32: {reason}"
    peer = verdict(found, FULL, "cls", "openvino bf16")
    assert peer.reached is None
    assert peer.missing == "no peer of this precision ran"
    assert verdict(found, FULL, "cls", "best fp32").ours == "poolfold onnxruntime fp32"


@pytest.mark.parametrize(
    ("cls", "mean", "peer", "reached"),
    [
        (100, 200, 300, [True, True, True]),
        (200, 200, 300, [False, True, True]),
        (100, 300, 300, [True, True, False]),
        (300, 200, 300, [False, False, True]),
        (None, 200, 300, [None, None, True]),
    ],
)
def test_memory_goals(cls, mean, peer, reached):
    ours = "poolfold onnxruntime fp32"
    memory = [
        (ours, "onnxruntime", "ours", "cls", cls),
        (ours, "onnxruntime", "ours", "mean", mean),
        ("optimum onnxruntime fp32", "onnxruntime", "peer", "", peer),
    ]
    found = memory_verdicts(model(even(1.0, 1.0), memory=memory))
    onnxruntime, openvino = found[:3], found[3:]
    assert [v.reached for v in onnxruntime] == reached
    assert onnxruntime[2].larger == "optimum onnxruntime fp32"
    assert onnxruntime[2].larger_bytes == peer * MIB
    assert [v.reached for v in openvino] == [None, None, None]
    assert openvino[0].smaller == "poolfold openvino fp32, cls"
