import json
from pathlib import Path

import pytest

from bench.export_cost import OUR_IMPORTS, OURS, OURS_ONE, PEER, PEER_IMPORTS, Cost, commands, summary, table

MIB = 1 << 20


def costs(wall, peak):
    return [Cost(s, mib * MIB, (mib + 1) * MIB) for s, mib in zip(wall, peak, strict=True)]


def found(ours_s, ours_mib, one_s=None):
    return summary(
        {
            OURS: costs(ours_s, ours_mib),
            OURS_ONE: costs(one_s or [0.9 * s for s in ours_s], ours_mib),
            PEER: costs([5.0, 10.0, 20.0], [700, 700, 700]),
            OUR_IMPORTS: costs([1, 1, 1], [200, 210, 220]),
            PEER_IMPORTS: costs([1, 1, 1], [300, 300, 300]),
        },
        weights_bytes=100 * MIB,
    )


def test_ratios_are_taken_round_by_round():
    value = found([10.0, 15.0, 20.0], [600, 610, 720])
    assert value["wall_ratio"] == {"q1": 1.25, "median": 1.5, "q3": 1.75, "limit": 2.0, "within": True}
    assert value["commands"][OURS]["wall_s"]["median"] == 15.0
    assert value["commands"][OURS]["peak_above_imports_bytes"]["median"] == 400 * MIB
    assert value["commands"][PEER]["peak_above_imports_bytes"]["median"] == 400 * MIB
    assert value["commands"][PEER_IMPORTS]["peak_above_imports_bytes"] is None
    assert value["memory_over_weights"]["median"] == pytest.approx(4.0)
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("ours_s", "ours_mib", "wall_within", "memory_within"),
    [
        ([10.0, 20.0, 40.0], [900, 900, 900], True, True),
        ([10.1, 20.1, 40.1], [900, 900, 900], False, True),
        ([10.0, 20.0, 40.0], [1000, 1010, 1020], True, False),
    ],
)
def test_each_limit_is_held(ours_s, ours_mib, wall_within, memory_within):
    value = found(ours_s, ours_mib)
    assert value["wall_ratio"]["within"] is wall_within
    assert value["memory_over_weights"]["within"] is memory_within
    assert table(value).count("OUTSIDE") == 2 - wall_within - memory_within


def test_what_a_second_strategy_adds_is_held_to_a_fifth_of_the_first():
    assert found([11.9, 12.0, 11.9], [600] * 3, [10.0, 10.0, 10.0])["second_strategy"]["within"]
    beyond = found([12.1, 12.1, 12.0], [600] * 3, [10.0, 10.0, 10.0])
    assert not beyond["second_strategy"]["within"]
    assert "OUTSIDE the limit 0.2" in table(beyond)


def test_our_command_line_is_one_that_poolfold_takes():
    from exporter.commands.cli import cli

    line = commands(Path("MODEL"), Path("OUT"), Path("bin"), Path("bin"))[OURS]
    assert line[0] == "bin/poolfold"
    export = cli.commands[line[1]]
    parsed = export.make_context("export", line[2:]).params
    assert parsed["skip_latency"] is True
    assert tuple(parsed["pooling"]) == ("cls", "mean")
