"""The results of the checks: values for the manifest and for scripts, and a message for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from exporter.spec.model import DType
from poolfold.manifest import Executor, Parity, ParityCheck, WorstText
from poolfold.tokenise import shorten

_WORST = 5
SAME_TEXT = frozenset({"alone_cosine", "padded_cosine", "reordered_cosine"})
"""Checks of a candidate against itself: one text, asked for in several ways."""
MASKED = frozenset({"masked_ids_right_cosine", "masked_ids_left_cosine", "masked_ids_holes_cosine"})
"""Checks that ids under mask 0 move no vector: padding on either side, and tokens masked inside a text."""

_EIGHT_BITS = (
    " The layers that stay fp32 were chosen on other texts: give more texts like these with --texts, take a lower "
    "--int8-floor, or leave {} out."
)

PROMPT = "prompt_cosine"
"""Check that a folded prompt gives the vectors that it gives when it is computed with the text."""


@dataclass(frozen=True)
class Check:
    """One check, and the row that came out worst.

    bound: ">=" or "<=": on which side of `limit` the value must lie.
    limit: None where the value is reported and not judged.
    text: the beginning of the text whose row gave the value; empty where there is none.
    """

    name: str
    value: float
    bound: str
    limit: float | None
    passed: bool
    text: str


@dataclass(frozen=True)
class ParityReport:
    """All checks of one candidate. Every number is finite, so that the whole is plain JSON.

    reference: what they were held against, for example "PyTorch".
    executor: what computed the vectors.
    up_to: tokens of the longest text.
    worst: the texts with the smallest cosines, the worst first.
    """

    reference: str
    strategy: str
    dtype: str
    executor: Executor
    passed: bool
    n_texts: int
    up_to: int
    dim: int
    checks: tuple[Check, ...]
    worst: tuple[WorstText, ...]

    def also(self, check: Check) -> ParityReport:
        """The report with one more check."""
        return replace(self, checks=(*self.checks, check), passed=self.passed and check.passed)

    def as_row(self) -> Parity:
        """The report as the manifest carries it: each check by its name."""
        return Parity(
            strategy=self.strategy,
            dtype=self.dtype,
            executor=str(self.executor),
            ran_on=self.executor,
            reference=self.reference,
            passed=self.passed,
            texts=self.n_texts,
            checks={c.name: ParityCheck(value=c.value, limit=c.limit, passed=c.passed) for c in self.checks},
            worst=self.worst,
        )

    def explain(self) -> str:
        """The checks that failed, with their values, limits and texts; the message of a CheckFailed."""
        failed = [
            f"{c.name} {c.value:.7g}, limit {c.bound} {c.limit:.7g}{f' ({c.text})' if c.text else ''}"
            for c in self.checks
            if not c.passed
        ]
        worst = ", ".join(f"{w.text} {w.cosine:.7f}" for w in self.worst)
        what = f"{self.strategy} {self.dtype} on {self.executor}"
        names = {c.name for c in self.checks if not c.passed}
        in_8_bits = DType(self.dtype).in_8_bits
        if in_8_bits and names <= SAME_TEXT | MASKED:
            return (
                f"{what} gives {self.reference}'s vectors, and these depend on the batch by more than rounding "
                f"explains: {'; '.join(failed)}. Leave {self.dtype} out."
            )
        if names <= SAME_TEXT | MASKED and names & SAME_TEXT:
            return (
                f"{what} gives {self.reference}'s vectors, and these depend on the batch: {'; '.join(failed)}. "
                "The model itself lets padding into a vector, for example by absolute positions behind padding on the "
                "left. Mend the tokeniser's padding_side, or take another model: such vectors cannot be indexed."
            )
        if names <= MASKED:
            return (
                f"{what} gives {self.reference}'s vectors, and these depend on ids under mask 0: {'; '.join(failed)}. "
                "Attention reads what attention_mask hides there, as a graph does whose mask was fused to a length "
                "(mask_index). Take the graph as it was before that optimisation, or export the model again."
            )
        if names == {PROMPT}:
            return (
                f"{what} gives {self.reference}'s vectors, and others behind a folded prompt: {'; '.join(failed)}. "
                "The model's vectors depend on where a text begins. Export it without prompts."
            )
        remedy = _EIGHT_BITS.format(self.dtype) if in_8_bits else ""
        return (
            f"{what} does not give {self.reference}'s vectors: {'; '.join(failed)}. Smallest cosines: {worst}.{remedy}"
        )


def at_least(name: str, values: Sequence[float], limit: float | None, texts: Sequence[str]) -> Check:
    """A check on the smallest of the values, one for each text."""
    row = min(range(len(values)), key=lambda i: values[i])
    value = float(values[row])
    return Check(name, value, ">=", limit, limit is None or value >= limit, shorten(texts[row]))


def over_all(name: str, value: float, limit: float | None) -> Check:
    """A check on a number that all texts have together, which may not be smaller than the limit."""
    return Check(name, value, ">=", limit, limit is None or value >= limit, "")


def at_most(name: str, values: Sequence[float], limit: float | None, texts: Sequence[str]) -> Check:
    """A check on the largest of the values, one for each text."""
    row = max(range(len(values)), key=lambda i: values[i])
    value = float(values[row])
    return Check(name, value, "<=", limit, limit is None or value <= limit, shorten(texts[row]))


def none_of(name: str, rows: Sequence[bool], texts: Sequence[str]) -> Check:
    """A check that no row is marked; the value is how many are, the text that of the first."""
    marked = [row for row, is_marked in enumerate(rows) if is_marked]
    return Check(name, float(len(marked)), "<=", 0.0, not marked, shorten(texts[marked[0]]) if marked else "")


def worst_texts(cosines: Sequence[float], texts: Sequence[str]) -> tuple[WorstText, ...]:
    """The texts with the smallest cosines, the worst first."""
    rows = sorted(range(len(texts)), key=lambda i: cosines[i])[:_WORST]
    return tuple(WorstText(text=shorten(texts[row]), cosine=float(cosines[row])) for row in rows)
