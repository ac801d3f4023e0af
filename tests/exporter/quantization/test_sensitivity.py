"""Which layers stay fp32: the fewest weights that reach the cosine, found by measurement."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from exporter.quantization.sensitivity import Choice, choose_kept
from graphs.quantization.linears import Linears

LAYERS = 8


class Role(Linears):
    """Linear layers with given names and shapes."""

    def __init__(self, name: str, *shape: int) -> None:
        object.__setattr__(self, "nodes", ())
        object.__setattr__(self, "inputs", ())
        object.__setattr__(self, "weights", (name,))
        object.__setattr__(self, "shape", shape)

    @property
    def role(self) -> tuple[tuple[int, ...], ...]:
        return (self.__dict__["shape"],)


GROUPS = [
    Role(f"{name}{layer}", *shape) for layer in range(LAYERS) for name, shape in (("up", (4, 16)), ("down", (16, 4)))
]


def choose(costs: dict[str, float], least: float) -> tuple[Choice, int]:
    """What is chosen where each layer in int8 costs so much of the cosine, and how many trials that took."""
    trials: list[Collection[str]] = []

    def measure(kept: Collection[str]) -> float:
        trials.append(kept)
        return 1 - sum(cost for name, cost in costs.items() if name not in kept)

    return choose_kept(GROUPS, measure, least), len(trials)


def test_nothing_stays_where_all_of_it_is_good_enough() -> None:
    choice, trials = choose({"down3": 0.004}, least=0.995)
    assert (choice.kept, trials) == (frozenset(), 1)
    assert choice.chosen.cosine == pytest.approx(0.996)


@pytest.mark.parametrize("bad", [{"down3"}, {"down0", "down7"}, {f"down{n}" for n in range(LAYERS)}])
def test_those_that_cost_most_stay_and_no_others(bad: set[str]) -> None:
    choice, trials = choose({f"up{n}": 1e-4 for n in range(LAYERS)} | dict.fromkeys(bad, 0.05), least=0.99)
    assert choice.kept == bad
    assert choice.chosen.cosine >= 0.99
    assert choice.chosen.kept == f"{len(bad)} of 16x4"
    assert choice.trials[0].kept == ""
    assert choice.trials[0].cosine < choice.chosen.cosine
    assert choice.chosen in choice.trials
    assert trials == len(choice.trials) <= 32


def test_a_second_role_is_added_where_one_is_not_enough() -> None:
    choice, _ = choose({"down1": 0.05, "up2": 0.02, "up5": 0.001}, least=0.995)
    assert {"down1", "up2"} <= choice.kept
    assert choice.chosen.cosine >= 0.995


def test_where_nothing_is_enough_everything_stays_and_the_cosine_says_so() -> None:
    choice, _ = choose({"head": 0.1}, least=0.99)
    assert choice.chosen.cosine == pytest.approx(0.9)
    assert len(choice.kept) == 2 * LAYERS


def test_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.quantization.sensitivity._MOST_TRIALS", 6)
    choice, trials = choose(dict.fromkeys(("down0", "down2", "down5"), 0.05), least=0.99)
    assert trials <= 6
    assert {"down0", "down2", "down5"} <= choice.kept


def test_a_model_without_linear_layers_keeps_none() -> None:
    choice = choose_kept([], lambda _: 0.5, 0.99)
    assert (choice.kept, choice.chosen.cosine) == (frozenset(), 0.5)
