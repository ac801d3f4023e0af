"""`python -m bench.gpu`: measure on the first NVIDIA GPU, keep the results, print the verdict.

Ends with 0 when everything was measured that runs here (a goal that is missed is a result), 1 when vectors of ours fail
parity or a model could not be measured, 2 on bad usage, 3 without a GPU. bench/README.md tells the method.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench import batches, models
from bench.document import document, verdict_section
from bench.exports import Exported, export_ours
from bench.goals import parity_passes
from bench.gpu.probe import Probed, alone, probe
from bench.results import ModelResult, Results, write
from bench.systems import COMPILED, CPU, CUDA, RTX, STRATEGIES, Entry, Setting, on_gpu
from bench.turns import begun, in_turns, memory_result, system_results
from bench.work import size_of
from exporter.host.child_process import OwnProcess
from exporter.host.environment import busy_share, environment
from exporter.measure.interleave import PAUSE_S
from exporter.measure.process import in_words
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from poolfold.errors import CheckFailed, PoolfoldError
from poolfold.sessions.threads import default_threads

_RESULTS = Path("bench/results")
_NAMED = {"minilm": models.minilm, "bert-base": models.bert_base}
_UNTRIED = "not tried yet"
_PROBING_SHARE, _EAGER_S, _LOADING_S = 0.6, 600.0, 20.0
"""Of a model's time; for PyTorch, whatever the time; of all systems side by side, compiled code being kept."""
_LEAST_WEIGHTS_SHARE = 0.25
"""Of the fp32 weights: half of what fp16 weights take on the card. Less means that they are not there."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, write, print."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.artifact and len(given.artifact) != len(given.model):
        parser.error(f"got {len(given.artifact)} --artifact for {len(given.model)} models; give one for each, in order")
    with OwnProcess("bench.gpu.card:describe", given.device) as process:
        card = process.result()
    if isinstance(card, str):
        how = "Run this on a machine with one, or try the bench itself with --device cpu."
        print(f"{card}: nothing is measured. {how}", file=sys.stderr)
        return 3
    # What is kept with the project is of a GPU, of the models that it names, and in more than the fewest rounds.
    kept = given.device == "cuda" and not given.quick and set(given.model) <= set(_NAMED)
    run = Run(given, card, _RESULTS if kept else given.build / "results")
    results = run.measured()
    print(document(results, batches.ON_GPU))
    for model in results.models:
        print(f"{model.name}:", *verdict_section(model), sep="\n\n", file=sys.stderr)
    return exit_code(results)


def exit_code(results: Results) -> int:
    """1 where vectors of ours fail parity, a model was not measured, or its windows failed; else 0."""
    wrong = any(s.side == "ours" and not parity_passes(s) for model in results.models for s in model.systems)
    return 1 if wrong or results.unmeasured or any(model.failed for model in results.models) else 0


class Run:
    """One run: whatever is known of it is in its folder at any time."""

    def __init__(self, given: argparse.Namespace, card: Mapping[str, Any], folder: Path) -> None:
        self._given, self._folder, self._start = given, folder, time.monotonic()
        self._setting, self._threads = CUDA if given.device == "cuda" else CPU, default_threads()
        self._results = Results(
            command=shlex.join(["python", "-m", "bench.gpu", *sys.argv[1:]]),
            device=given.device,
            card=card,
            environment=environment(),
            threads=self._threads,
            busy=busy_share(),
            pause_s=PAUSE_S,
            peer_versions={},
            models=(),
            unmeasured=dict.fromkeys(given.model, "the run was ended before its turn"),
            complete=False,
        )

    def measured(self) -> Results:
        """Measure the models one after another."""
        given = self._given
        self._keep()
        for number, named in enumerate(given.model):
            now = time.monotonic()
            until = now + (self._start + given.seconds - now) / (len(given.model) - number)
            model = _NAMED[named](given.build) if named in _NAMED else models.given(Path(named), given.build, 0)
            try:
                self._measure(named, model, given.artifact[number] if given.artifact else None, until)
            except (PoolfoldError, RuntimeError) as error:
                self._say(named, f"not measured: {in_words(error)}")
                self._keep(unmeasured={**self._results.unmeasured, named: in_words(error)})
        self._keep(complete=True)
        return self._results

    def _say(self, named: str, what: str) -> None:
        print(f"{time.monotonic() - self._start:6.0f} s  {named}: {what}", file=sys.stderr, flush=True)

    def _keep(self, **changes: object) -> None:
        self._results = msgspec.structs.replace(self._results, **changes)
        write(self._results, self._folder / "gpu.json")
        (self._folder / "gpu.md").write_text(document(self._results, batches.ON_GPU))

    def _keep_model(self, named: str, model: ModelResult) -> None:
        others = [other for other in self._results.models if other.name != model.name]
        rest = {other: why for other, why in self._results.unmeasured.items() if other != named}
        self._keep(models=(*others, model), unmeasured=rest)

    def _measure(self, named: str, model: models.Model, artifact: Path | None, until: float) -> None:
        """Rates, reference, each system alone, then all of them in turns; those that are compared with run in any case.

        It should be over by the monotonic time `until`; the fewest rounds are made even past it.

        Raises:
            RuntimeError: the export failed.
            CheckFailed: PyTorch itself, which everything is compared with, does not run.
        """
        setting, threads, strategies = self._setting, self._threads, self._given.pooling
        spec, size = read_spec(Source(model.name, model.checkpoint, None)), size_of(model.checkpoint)
        workloads = batches.timed(spec, batches.ON_GPU)
        exported = Exported(f"given: {artifact.name}" if artifact else "", {})
        if artifact is None:
            self._say(named, "poolfold export for the targets that are here")
            artifact = model.build / f"artifact-{setting.device}"
            targets = [(target, dtype) for target, _, dtype in setting.ours if dtype == setting.dtype]
            exported = export_ours(model.checkpoint, artifact, targets, STRATEGIES)
        probing_until = time.monotonic() + _PROBING_SHARE * (until - time.monotonic())

        self._say(named, "PyTorch fp32, the reference")
        exact = Setting(setting.device, "fp32", CPU.ours)
        wanted = {
            entry.strategies: alone(entry, workloads, setting.device, threads, _EAGER_S)
            for entry in on_gpu(exact, model.checkpoint, artifact, strategies)
            if entry.label == exact.eager
        }
        with OwnProcess("bench.gpu.card:product_rate", setting.device, setting.dtype) as process:
            flops = process.result()
        self._say(named, f"{setting.dtype} product {flops / 1e12:.3g} TFLOP/s")
        result = begun(model.name, size, exported.command, workloads, {})
        result = msgspec.structs.replace(result, rates={"dtype": setting.dtype, "flops": flops}, tensorrt_rtx=_UNTRIED)
        self._keep_model(named, result)

        weights = sum(path.stat().st_size for path in model.checkpoint.glob("*.safetensors"))
        least_bytes = weights * _LEAST_WEIGHTS_SHARE if setting.device == "cuda" else 0.0
        present: list[Entry] = []
        for entry in on_gpu(setting, model.checkpoint, artifact, strategies):
            limit_s, is_baseline = probing_until - time.monotonic(), entry.label == setting.eager
            outcome: tuple[Probed, float] | str = "left out by --no-compile"
            if self._given.compiled or not entry.label.startswith(COMPILED):
                limit_s = max(limit_s, _EAGER_S) if is_baseline else limit_s
                outcome = probe(
                    entry, workloads, wanted[entry.strategies], setting.device, threads, limit_s, least_bytes
                )
            if isinstance(outcome, str):
                outcome = exported.unavailable.get(entry.runtime, outcome)
                if is_baseline:
                    raise CheckFailed(f"{entry.label}, which all are compared with, does not run: {outcome}")
            else:
                present.append(entry)
            result, told = _with(result, entry, outcome)
            self._say(named, f"{entry.systems()[0].name}: {told}")
            if entry.runtime == RTX and result.tensorrt_rtx == _UNTRIED:
                self._say(named, f"does tensorrt-rtx load and run our engine on this card? It {told}")
                result = msgspec.structs.replace(result, tensorrt_rtx=told)
            self._keep_model(named, result)
        self._say(named, f"{len(present)} systems in turns, each in its own process")
        seconds = 0.0 if self._given.quick else until - time.monotonic() - _LOADING_S
        say = lambda what: self._say(named, what)  # noqa: E731
        try:
            result = in_turns(result, present, workloads, threads=threads, seconds=seconds, say=say)
        except CheckFailed as error:
            result = msgspec.structs.replace(result, failed=in_words(error))
        self._keep_model(named, result)


def _with(result: ModelResult, entry: Entry, outcome: tuple[Probed, float] | str) -> tuple[ModelResult, str]:
    """The results with what a system gave alone, or why it does not run; and the same in words."""
    (system,) = system_results(entry)
    if isinstance(outcome, str):
        missing = {**result.missing, system.name: outcome}
        return msgspec.structs.replace(result, missing=missing), f"does not run: {outcome}"
    probed, cosine = outcome
    changed = msgspec.structs.replace(
        result,
        systems=(*result.systems, msgspec.structs.replace(system, smallest_cosine=cosine)),
        memory=(*result.memory, memory_result(entry, "all", probed.increase_bytes)),
    )
    return changed, f"runs; smallest row cosine {cosine:.6f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    named, both = list(_NAMED), list(STRATEGIES)
    parser.add_argument("--model", nargs="+", default=named, help=f"{', '.join(named)}, or a folder (default: both)")
    parser.add_argument("--artifact", nargs="+", type=Path, default=[], help="made elsewhere, one a model, in order")
    parser.add_argument("--pooling", nargs="+", choices=both, default=both, help="strategies (default: both)")
    parser.add_argument("--seconds", type=float, default=480, help="for the whole run (default: 480)")
    parser.add_argument("--quick", action="store_true", help="in the fewest rounds; kept in the build folder only")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the bench itself")
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="without torch.compile")
    parser.add_argument("--build", type=Path, default=Path("build/gpu"), help="default: build/gpu")
    return parser


if __name__ == "__main__":
    sys.exit(main())
