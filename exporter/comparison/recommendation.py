"""Which strategy to take, by stated rules, and why. Pure: measured values in, a recommendation and its words out.

1. Where the best strategy is ahead of every other one, it is recommended.
2. Where it is ahead of or level with every other one, those that are level count as equally good. Of them the trained
   one is recommended, since other data may tell more; where it is not among them, the one that is clearly the fastest.
3. Where the data do not settle it, the trained strategy stays, or the best one where that is ahead of the trained one;
   nothing is traded for speed.
4. Texts without labels cannot tell which vectors are better: the trained strategy stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.comparison.resampling import AHEAD, LEVEL, NOT_SETTLED, Interval, Lead
from exporter.comparison.tasks import counted
from exporter.measure.quartiles import Quartiles

RULES = (
    "The strategy with the highest value is held against each other one by the 95 % interval of their difference "
    "(paired bootstrap; all pairs of strategies share the 5 %). It is level with another where the whole interval is "
    "within the margin of {margin:g}, ahead of it where the whole interval is above zero; otherwise these data do not "
    "settle it. Where it is ahead of all, it is recommended. Of those that are level with it the one that the model "
    "was trained with is, or else the fastest. Where the data do not settle it, the trained strategy stays unless it "
    "is behind."
)
RULES_WITHOUT_LABELS = "Texts without labels cannot tell which vectors are better: nothing below says so."


@dataclass(frozen=True)
class Timed:
    """Milliseconds for `what`, of each strategy that was timed undisturbed; may be empty."""

    what: str = ""
    milliseconds: Mapping[str, Quartiles] | None = None

    def of(self, names: Sequence[str]) -> dict[str, Quartiles]:
        """Those of some strategies, the fastest first."""
        times = {name: time for name, time in (self.milliseconds or {}).items() if name in names}
        return dict(sorted(times.items(), key=lambda item: item[1].median))

    def fastest(self, names: Sequence[str]) -> str | None:
        """The one whose slower rounds are faster than the faster rounds of every other; all must have been timed."""
        times = list(self.of(names).items())
        if not times or len(times) < len(names):
            return None
        (first, least), *others = times
        return first if all(least.q3 < time.q1 for _, time in others) else None


@dataclass(frozen=True)
class Verdict:
    """A recommendation.

    recommended: a strategy.
    best: the one with the highest value; the recommended one where nothing was decided.
    outcome: of all leads of the best one together: NOT_SETTLED where one of them is not, else LEVEL where one of them
        is, else AHEAD; None where nothing was held against each other.
    significant: whether the recommended strategy's lead over every other on `metric` is.
    metric: the one that decided; None for texts without labels.
    margin: a difference of less counts as none.
    more: about how many more units would settle it; None where it is settled.
    reasons: sentences, each from a number.
    """

    recommended: str
    best: str
    outcome: str | None
    significant: bool
    metric: str | None
    margin: float
    more: int | None
    reasons: tuple[str, ...]


def decide(
    metric: str,
    best: str,
    leads: Sequence[Lead],
    trained: str | None,
    timed: Timed,
    *,
    untrained: Sequence[str],
    margin: float,
    unit: tuple[str, str],
) -> Verdict:
    """Apply the rules to what was measured with labels.

    Args:
        metric: the one that decides.
        best: the strategy with the highest value.
        leads: its leads over each other one.
        trained: what the model was trained with; None where it does not say or it does not take part.
        timed: what each takes.
        untrained: those that no model was trained with.
        margin: that the leads were judged by.
        unit: what the data are counted in, one and several.
    """
    first = _trained(trained, untrained)
    if not leads:
        return Verdict(
            best, best, None, False, metric, margin, None, (*first, f"{best} is the only strategy compared.")
        )
    of = {outcome: [lead for lead in leads if lead.outcome == outcome] for outcome in (AHEAD, LEVEL, NOT_SETTLED)}
    outcome = next(outcome for outcome in (NOT_SETTLED, LEVEL, AHEAD) if of[outcome])
    more = max((lead.more for lead in of[NOT_SETTLED] if lead.more is not None), default=None)
    candidates = [best, *(lead.over for lead in leads if lead.outcome != AHEAD)]
    level = [best, *(lead.over for lead in of[LEVEL])]
    reasons = [*first]
    if of[AHEAD]:
        reasons.append(f"On {metric} {best} is ahead of {_differences(of[AHEAD], '{} by {}')}.")
    if of[LEVEL]:
        reasons.append(
            f"On {metric} {best} is level with {_differences(of[LEVEL], '{} ({})')}: wholly within the margin of "
            f"{margin:g}."
        )
        less = [lead.over for lead in of[LEVEL] if lead.significant]
        if less:
            reasons.append(f"Its lead over {_listed(less)} is real, and less than the margin.")
    if of[NOT_SETTLED]:
        unsettled = [best, *(lead.over for lead in of[NOT_SETTLED])]
        degree, as_is = ("better", "difference") if len(unsettled) == 2 else ("best", "differences")
        reasons.append(
            f"These data do not settle which of {_listed(unsettled)} is {degree} on {metric}: {best} has "
            f"{_differences(of[NOT_SETTLED], '{1} over {0}')}, neither above zero nor within the margin of {margin:g}."
        )
        assert more is not None
        reasons.append(f"About {counted(more, unit, 'more ')} would, were the {as_is} to stay the same.")
    recommended, why = _choice(best, trained, candidates, level, outcome, timed)
    reasons += [*why, *(_speed(recommended, level, leads, timed) if outcome != NOT_SETTLED else ())]
    significant = recommended == best and all(lead.significant for lead in leads)
    return Verdict(recommended, best, outcome, significant, metric, margin, more, tuple(reasons))


def keep_trained(trained: str, agreement: Mapping[str, Interval], margin: float) -> Verdict:
    """What texts without labels leave: the trained strategy, and the share of its neighbours that others find."""
    why = f"{trained}, which the model was trained with, stays."
    reasons = [f"The texts have no labels, so nothing here says which vectors are better: {why}"]
    if agreement:
        shown = _listed([f"{name} finds {value.value:.0%}" for name, value in agreement.items()])
        reasons.append(f"Of each text's ten nearest neighbours by {trained}, {shown}.")
    return Verdict(trained, trained, None, False, None, margin, None, tuple(reasons))


def _choice(
    best: str, trained: str | None, candidates: Sequence[str], level: Sequence[str], outcome: str, timed: Timed
) -> tuple[str, tuple[str, ...]]:
    if outcome == AHEAD:
        return best, ()
    if trained in candidates:
        why = "stays" if outcome == NOT_SETTLED else "is taken"
        return str(trained), (f"{trained} {why}: the model was trained with it.",)
    if outcome == NOT_SETTLED:
        return best, (f"{best} is taken for its value here, and for nothing else.",)
    fastest = timed.fastest(level)
    if fastest is None:
        return best, (f"{best} is taken for its value here: none of those that are level is known to be faster.",)
    return fastest, (f"Of those that are level, {fastest} is taken: it is the fastest.",)


def _trained(trained: str | None, untrained: Sequence[str]) -> tuple[str, ...]:
    if trained is None:
        return ("Which strategy the model was trained with is not known, or it was not compared.",)
    not_with = f", not with {_listed(untrained, 'or')}" if untrained else ""
    return (f"The model was trained with {trained}{not_with}.",)


def _differences(leads: Sequence[Lead], form: str) -> str:
    shown = [(lead.over, lead.difference) for lead in leads]
    return _listed([form.format(over, f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]") for over, d in shown])


def _listed(names: Sequence[str], last: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _speed(chosen: str, level: Sequence[str], leads: Sequence[Lead], timed: Timed) -> tuple[str, ...]:
    """What the recommended strategy takes beside the fastest; only where both were timed and are clearly apart."""
    times = timed.of([level[0], *(lead.over for lead in leads)])
    fastest = next(iter(times), chosen)
    if chosen not in times or len(times) < 2:
        return ()
    takes = f"{chosen} takes {times[chosen].median:.1f} ms for {timed.what}"
    if fastest == chosen or times[fastest].q3 >= times[chosen].q1:
        return (f"{takes}; none is clearly faster.",)
    ratio = times[chosen].median / times[fastest].median
    told = f"{takes}, {fastest} {times[fastest].median:.1f} ms ({ratio:.2f}x)"
    if fastest in level and chosen in level:
        return (f"{told}: where speed counts, take {fastest}.",)
    return (f"{told}.",)
