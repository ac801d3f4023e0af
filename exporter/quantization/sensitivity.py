"""Which layers stay fp32, so that no text falls below a cosine: found by measurement, those first that cost least.

Pure: weights have names and sizes, and a function tells what a choice of them costs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from graphs.quantization.linears import Linears

_MOST_TRIALS = 32


@dataclass(frozen=True)
class Trial:
    """A choice that was measured.

    layers: groups of linear layers in fp32.
    kept: which, in words; empty for none.
    share: of all weights of linear layers, those in fp32.
    cosine: the smallest of any text.
    """

    layers: int
    kept: str
    share: float
    cosine: float


@dataclass(frozen=True)
class Choice:
    """The weights that stay fp32, and how that was found.

    kept: names.
    trials: in the order in which they were made; the first has all layers in int8.
    chosen: the one of `kept`.
    """

    kept: frozenset[str]
    trials: tuple[Trial, ...]
    chosen: Trial


def choose_kept(groups: Sequence[Linears], measure: Callable[[Collection[str]], float], least: float) -> Choice:
    """Keep as few weights in fp32 as reach a cosine; all of them, where that is not enough.

    Layers of one role (the down-projections, say) are tried together first: the roles that gain most for their size are
    added one by one until the cosine is reached. Of the last role, those layers that it is reached without are then
    given back.

    Args:
        groups: the linear layers.
        measure: weights that stay fp32 -> the smallest cosine of any text.
        least: the cosine to reach.
    """
    search = _Search(groups, measure)
    kept: list[Linears] = []
    worst = reached = search.try_out(kept)
    roles: dict[tuple[tuple[int, ...], ...], list[Linears]] = {}
    for group in groups if worst < least else ():
        roles.setdefault(group.role, []).append(group)
    gains = {role: (search.try_out(of_role) - worst) / sum(g.size for g in of_role) for role, of_role in roles.items()}
    for role in sorted(roles, key=lambda role: -gains[role]):
        before, kept = kept, [*kept, *roles[role]]
        reached = search.try_out(kept)
        if reached >= least:
            return search.choice([*before, *search.needed(before, roles[role], least)])
    return search.choice(kept)


class _Search:
    def __init__(self, groups: Sequence[Linears], measure: Callable[[Collection[str]], float]) -> None:
        self._all = sum(group.size for group in groups)
        self._measure = measure
        self._trials: dict[frozenset[str], Trial] = {}

    def try_out(self, kept: Sequence[Linears]) -> float:
        """The smallest cosine with some groups in fp32; each choice is measured once."""
        names = _names(kept)
        if names not in self._trials:
            share = sum(group.size for group in kept) / max(self._all, 1)
            self._trials[names] = Trial(len(kept), describe(kept), share, self._measure(names))
        return self._trials[names].cosine

    def needed(self, fixed: Sequence[Linears], last: Sequence[Linears], least: float) -> Sequence[Linears]:
        """What of `last` the cosine is not reached without: halves are given back whole, or in parts."""
        kept, pending = list(last), [list(last)]
        while pending and len(self._trials) < _MOST_TRIALS:
            part = pending.pop()
            without = [group for group in kept if group not in part]
            if len(part) < len(last) and self.try_out([*fixed, *without]) >= least:
                kept = without
            elif len(part) > 1:
                pending += [part[len(part) // 2 :], part[: len(part) // 2]]
        return kept

    def choice(self, kept: Sequence[Linears]) -> Choice:
        """What was found."""
        return Choice(_names(kept), tuple(self._trials.values()), self._trials[_names(kept)])


def _names(kept: Sequence[Linears]) -> frozenset[str]:
    return frozenset(name for group in kept for name in group.weights)


def describe(kept: Sequence[Linears]) -> str:
    """Groups in words: how many of each shape, such as `6 of 1536x384`."""
    roles: dict[str, int] = {}
    for group in kept:
        name = "+".join("x".join(map(str, shape)) for shape in group.role)
        roles[name] = roles.get(name, 0) + 1
    return ", ".join(f"{number} of {name}" for name, number in roles.items())
