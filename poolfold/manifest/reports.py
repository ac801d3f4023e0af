"""What was proven and measured of an artifact: rows of parity and latency."""

from __future__ import annotations

from poolfold.manifest.record import Record

_REHEARSED = {"onnxruntime": "fp16 rehearsal on ", "openvino": "int8 rehearsal on "}
_REHEARSED_ENGINE = "rehearsal on "


class Executor(Record, frozen=True):
    """What computed vectors: a target on a device, one form of a graph; `rehearsed` where rounding was done in fp32.

    On ONNX Runtime that rounding is fp16's, on OpenVINO int8's, for engines both, or fp8's.
    """

    target: str
    device: str
    form: str = "plain"
    rehearsed: bool = False

    def __str__(self) -> str:
        form = "" if self.form == "plain" else f", {self.form}"
        rehearsed = _REHEARSED.get(self.target, _REHEARSED_ENGINE) if self.rehearsed else ""
        return f"{rehearsed}{self.target} {self.device}{form}"

    @classmethod
    def parse(cls, name: str) -> Executor:
        """Read what `str` gives. Manifests of 0.1.0 have the name alone.

        Raises:
            ValueError: not such a name.
        """
        _, rehearsed, ran = name.rpartition(_REHEARSED_ENGINE)
        runs, _, form = ran.partition(", ")
        target, device = runs.rsplit(" ", 1)
        return cls(target=target, device=device, form=form or "plain", rehearsed=bool(rehearsed))


class ParityCheck(Record, frozen=True):
    """A check's value, over all texts, and the limit that it was held to; None where it is reported only."""

    value: float
    limit: float | None
    passed: bool


class WorstText(Record, frozen=True):
    """A text, shortened, and the cosine of its vector with the reference's."""

    text: str
    cosine: float


class Parity(Record, frozen=True):
    """The checks of one candidate, by name, against `reference` on `texts` texts.

    `executor` is the name of `ran_on`, for people.
    """

    strategy: str
    dtype: str
    executor: str
    ran_on: Executor
    reference: str
    passed: bool
    texts: int
    checks: dict[str, ParityCheck]
    worst: tuple[WorstText, ...]


class Latency(Record, frozen=True):
    """A system on a workload: milliseconds of a call over the rounds, median and quartiles.

    `runtime`: a target, with ONNX Runtime's provider behind it where that is another than `cpu`; or a baseline.
    `speedup`: the baseline's time over this one's, the median of the rounds' ratios. `increase_mib`: what the model and
    the largest batch add to the process; None where the machine does not tell. `disturbed`: other programs kept the
    processors busy while it was measured, and too few rounds were free of them: no claim rests on its numbers.
    """

    strategy: str
    dtype: str
    runtime: str
    workload: str
    threads: int
    median_ms: float
    q1_ms: float
    q3_ms: float
    speedup: float
    sentences_per_s: float
    tokens_per_s: float
    increase_mib: float | None
    disturbed: bool = False
