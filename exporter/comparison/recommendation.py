"""Which strategy to take, by stated rules, and why. Pure: measured values in, a recommendation and its words out.

1. The strategy with the highest value on the metric that decides is the best. Texts without labels cannot tell which
   vectors are better: the strategy that the model was trained with is recommended, and nothing is called significant.
2. Where the best one's lead over every other is significant, it is recommended.
3. Otherwise those over which it has no significant lead are as good as it, as far as these data can tell. Of them the
   trained one is recommended, since other data may tell more; where it is not among them, the fastest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.comparison.resampling import Interval, Lead

RULES = (
    "The strategy with the highest value on the metric that decides is recommended where its lead over every other is "
    "significant (paired bootstrap of the same data for all, 2000 draws, Holm's correction, 5 %). Otherwise those that "
    "it does not lead significantly count as equally good: of them the one that the model was trained with is "
    "recommended, and where it is not among them, the fastest. Texts without labels cannot tell which vectors are "
    "better: there the trained strategy is recommended."
)


@dataclass(frozen=True)
class Verdict:
    """A recommendation.

    recommended: a strategy.
    best: the one with the highest value.
    significant: whether the recommended strategy's lead over every other on `metric` is.
    metric: the one that decided.
    reasons: sentences, each from a number.
    """

    recommended: str
    best: str
    significant: bool
    metric: str
    reasons: tuple[str, ...]


def decide(
    metric: str,
    values: Mapping[str, Interval],
    leads: Sequence[Lead],
    trained: str | None,
    milliseconds: Mapping[str, float],
    *,
    untrained: Sequence[str],
    labelled: bool,
) -> Verdict:
    """Apply the rules.

    Args:
        metric: the one that decides.
        values: of each strategy.
        leads: the best strategy's over each other.
        trained: what the model was trained with; None where it does not say or it does not take part.
        milliseconds: of a batch, for each strategy; may be empty.
        untrained: those that no model was trained with.
        labelled: whether `metric` tells how good vectors are.
    """
    best = max(values, key=lambda name: (values[name].value, name == trained))
    if not labelled and trained is not None:
        why = (
            f"The texts have no labels, so nothing here says which vectors are better: {trained}, which the model was "
            f"trained with, is taken. {_agreement(values, trained)}"
        )
        return Verdict(trained, best, False, metric, (why.strip(), *_speed([trained], trained, values, milliseconds)))
    first = _trained(trained, untrained)
    if not leads:
        return Verdict(best, best, False, metric, (*first, f"{best} is the only strategy compared."))
    behind = [lead for lead in leads if lead.significant]
    level = [best, *(lead.over for lead in leads if not lead.significant)]
    if len(level) == 1:
        shown = "; ".join(f"{_number(lead.difference)} over {lead.over} (p = {lead.p:.2g})" for lead in leads)
        reasons = [*first, f"{best} leads significantly on {metric}: {shown}."]
        return Verdict(best, best, True, metric, (*reasons, *_speed(level, best, values, milliseconds)))
    recommended = trained if trained in level else min(level, key=lambda name: milliseconds.get(name, 0.0))
    unsure = "; ".join(
        f"{best} {_number(lead.difference)} over {lead.over} (p = {lead.p:.2g})"
        for lead in leads
        if not lead.significant
    )
    reasons = [*first, f"There is no significant difference on {metric} between {_listed(level)}: {unsure}."]
    if behind:
        shown = ", ".join(f"{lead.over} by {_number(lead.difference)}" for lead in behind)
        reasons.append(f"Significantly behind {best}: {shown}.")
    if recommended == trained:
        reasons.append(f"Of those that are level, {recommended} is taken: the model was trained with it.")
    else:
        fast = "the fastest of those that are level" if recommended in milliseconds else "one of those that are level"
        reasons.append(f"{recommended} is taken: it is {fast}, and none of them is what the model was trained with.")
    return Verdict(recommended, best, False, metric, (*reasons, *_speed(level, recommended, values, milliseconds)))


def _trained(trained: str | None, untrained: Sequence[str]) -> tuple[str, ...]:
    if trained is None:
        return ("None of the strategies compared is known to be the one that the model was trained with.",)
    return (f"The model was trained with {trained}{f', not with {_listed(untrained)}' if untrained else ''}.",)


def _agreement(values: Mapping[str, Interval], trained: str) -> str:
    shown = [f"{name} {chosen.value:.0%}" for name, chosen in values.items() if name != trained]
    return f"Of its ten nearest neighbours the others share: {', '.join(shown)}." if shown else ""


def _number(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _speed(
    level: Sequence[str], chosen: str, values: Mapping[str, Interval], milliseconds: Mapping[str, float]
) -> tuple[str, ...]:
    """What the recommended strategy costs beside the fastest, and whether that one is as good."""
    measured = {name: milliseconds[name] for name in values if name in milliseconds}
    if chosen not in measured or len(measured) < 2:
        return ()
    fastest = min(measured, key=lambda name: measured[name])
    if fastest == chosen:
        slowest = max(measured, key=lambda name: measured[name])
        slow = f"{slowest}, the slowest, {measured[slowest]:.1f} ms"
        return (f"{chosen} takes {measured[chosen]:.1f} ms a batch, the least; {slow}.",)
    ratio = measured[chosen] / measured[fastest]
    sentence = f"{chosen} takes {measured[chosen]:.1f} ms a batch, {ratio:.2f} times as long as {fastest}"
    gained = f"; {fastest} is level with it on these data, so take {fastest} where speed matters more"
    lost = f"; {fastest} is {values[chosen].value - values[fastest].value:.4f} behind it"
    return (f"{sentence}{(gained if fastest in level and len(level) > 1 else lost)}.",)
