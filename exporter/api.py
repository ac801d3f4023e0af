"""What `exporter` does, as Python functions. The command line calls these, and takes its defaults from them.

Signatures only: each function imports what it needs when it is called, so that a light install can read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from exporter.host.console import Console
from poolfold.errors import InputError

if TYPE_CHECKING:
    from exporter.measure.report import LatencyReport
    from exporter.parity.report import ParityReport
    from exporter.reporting.comparison_page import ComparisonReport
    from poolfold.manifest import Manifest

Triple = tuple[int, int, int]

QUIET = Console(quiet=True)
"""Prints warnings only."""


def export(
    model: str | Path,
    output: str | Path,
    *,
    pooling: Sequence[str] = ("trained",),
    dtypes: Sequence[str] = ("fp32",),
    targets: Sequence[str] = ("onnxruntime",),
    batch: Triple = (1, 8, 64),
    seq_len: Triple | None = None,
    buckets: Sequence[int] | Literal["auto"] | None = None,
    texts: Sequence[str] = (),
    dimensions: int | None = None,
    renormalize: bool = True,
    max_seq_length: int | None = None,
    fold_prompts: Mapping[str, str] | None = None,
    revision: str | None = None,
    force: bool = False,
    skip_latency: bool = False,
    bench_seconds: int = 90,
    validate_seconds: float | None = None,
    validate_length: int | None = None,
    int8_floor: float | None = None,
    layout: Literal["hub", "poolfold"] = "hub",
    token_embeddings: bool | None = None,
    push_to_hub: str | None = None,
    threads: int | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    tokenizer: Literal["file", "transformers"] = "file",
    builder_level: int | None = None,
    workspace_gib: float | None = None,
    version_compatible: bool = False,
    hardware_compatibility: str = "none",
    compute_capabilities: Sequence[str] = (),
    strip_weights: bool = False,
    console: Console = QUIET,
) -> Manifest:
    """Export a model as a validated artifact: `poolfold export`.

    >>> import exporter, poolfold
    >>> manifest = exporter.export("checkpoint", "artifact", pooling=["mean", "cls"], skip_latency=True)
    >>> [(graph.strategy, graph.dtype, graph.status) for graph in manifest.graphs]
    [('mean', 'fp32', 'validated'), ('cls', 'fp32', 'validated')]
    >>> with poolfold.load("artifact", strategy="cls") as encoder:
    ...     encoder.encode(["one text", "another"]).shape
    (2, 32)

    Args:
        model: a hub id, a folder, or an .onnx file.
        output: the artifact: a new directory.
        pooling: strategies, such as `cls`, `mean` or `cls+mean`; `trained` is what the checkpoint says.
        dtypes: precisions of the graphs; `bf16` is how `openvino` executes the fp32 one; `int8` is made for
            `onnxruntime`, `openvino` and `tensorrt-rtx`, each its own, `fp8` for `tensorrt-rtx`.
        targets: what is to run the artifact.
        batch: batch sizes that an engine accepts, and the one that it is tuned for: least, usual, largest.
        seq_len: the same of sequence lengths; None for 1, 128 and the model's limit.
        buckets: rising lengths, one profile each, instead of `seq_len`; `auto` derives them from `texts`.
        texts: your own texts, checked besides poolfold's corpus. Where there is `int8` or `fp8`, one
            in four makes these instead.
        dimensions: keep the first so many values of a vector (Matryoshka); None keeps all.
        renormalize: where a Normalize stands before the cut, bring what is left to unit length again; False gives the
            bare cut, as sentence-transformers' `truncate_dim` does.
        max_seq_length: tokens of the longest text, special tokens included; None for the model's own limit, which it
            may only lower.
        fold_prompts: prompts by name, whose keys and values become constants of the artifact, besides the model's own;
            of causal models only.
        revision: branch, tag or commit of a hub id.
        force: replace an artifact that is there, once everything has succeeded.
        skip_latency: leave out the padding, latency and memory stages.
        bench_seconds: the most that these stages take together; the manifest says what was left out for it.
        validate_seconds: about what validation takes; None for 120. Texts are proven as long as that allows, and
            `validated_up_to` of the manifest says how long.
        validate_length: prove texts of up to so many tokens, whatever it takes, instead.
        int8_floor: the smallest cosine that any text may have in `int8` or `fp8`; None for 0.99. Layers that it costs
            too much stay as they are.
        layout: `hub` also writes what sentence-transformers, optimum and others load a model folder by, and a model
            card; `poolfold` does not.
        token_embeddings: whether there is a graph that gives the vectors of tokens, which others load; None for one in
            the layout `hub`.
        push_to_hub: a hub id, `owner/name`, to push the artifact to as well.
        threads: of a session; None for `default_threads`.
        allow_pickle: load pickled weights: only from who you trust.
        trust_remote_code: run Python code that the checkpoint brings along.
        tokenizer: whose ids to take where they differ: `file` is tokenizer.json as published, with the flags beside it;
            `transformers` the installed library.
        builder_level: tensorrt: 0 builds fastest, 5 runs fastest; None for the library's default.
        workspace_gib: GiB of GPU memory that a layer of an engine may take; None for all.
        version_compatible: tensorrt: let later releases of its major version load the engine.
        hardware_compatibility: tensorrt: which GPUs may run the engine.
        compute_capabilities: tensorrt-rtx: GPUs to build for, such as "8.9"; empty for the library's default.
        strip_weights: tensorrt: leave the weights to the graph that lies beside the engine.
        console: where progress and warnings go.

    Returns:
        The manifest of what was published.

    Raises:
        PoolfoldError: bad input, a failed check, a target that is not available. `output` is then as it was.
    """
    from exporter.pipeline.export_model import export_model
    from exporter.spec.build_options import BuildOptions
    from exporter.spec.model import read_dtypes
    from exporter.spec.names import read_pooling
    from exporter.spec.options import ExportOptions, Layout, Shapes, read_floor, read_validation
    from exporter.spec.origin import TokenizerSource, Trust
    from graphs.pooling.head import Cut
    from poolfold.hub import require_may_push

    precisions = read_dtypes(dtypes)
    build_options = BuildOptions(
        builder_level,
        workspace_gib,
        version_compatible,
        hardware_compatibility,
        tuple(compute_capabilities),
        strip_weights,
    )
    options = ExportOptions(
        model=str(model),
        output=Path(output),
        pooling=tuple(read_pooling(name) for name in pooling),
        dtypes=precisions,
        targets=tuple(dict.fromkeys(targets)),
        shapes=Shapes(batch, seq_len, buckets if isinstance(buckets, str) or buckets is None else tuple(buckets)),
        build=build_options,
        texts=tuple(texts),
        cut=Cut(dimensions, renormalize),
        max_seq_length=max_seq_length,
        fold_prompts=dict(fold_prompts or {}),
        revision=revision,
        force=force,
        skip_latency=skip_latency,
        bench_seconds=bench_seconds,
        threads=threads,
        trust=Trust(allow_pickle, trust_remote_code),
        tokenizer=TokenizerSource(tokenizer),
        validation=read_validation(validate_seconds, validate_length),
        int8_floor=read_floor(int8_floor, precisions),
        layout=(kind := Layout(layout)),
        token_embeddings=kind is Layout.HUB if token_embeddings is None else token_embeddings,
    )
    if push_to_hub is not None:
        require_may_push(push_to_hub)
    manifest = export_model(options, console)
    if push_to_hub is not None:
        with console.stage("push") as stage:
            try:
                _, commit = push(output, push_to_hub)
            except InputError as error:
                raise InputError(
                    f"{error} The artifact is in {output}: `poolfold push {output} {push_to_hub}` pushes it."
                ) from None
            stage.outcome = f"{push_to_hub} at {commit[:12]}"
    return manifest


def push(
    directory: str | Path, repo: str, *, revision: str | None = None, private: bool = False, force: bool = False
) -> tuple[Manifest, str]:
    """Push an artifact to the Hugging Face hub, after a check of every file: `poolfold push`.

    >>> import exporter
    >>> exporter.push("artifact", "minilm")
    Traceback (most recent call last):
        ...
    poolfold.errors.InputError: minilm is no hub id. Expected owner/name.

    Args:
        directory: the artifact.
        repo: the hub id, `owner/name`; made where there is none.
        revision: the branch, made where there is none; None for the repository's own.
        private: whether a repository that is made is private.
        force: replace files of the same names where it holds another model.

    Returns:
        The manifest, and the commit.

    Raises:
        PoolfoldError: the artifact differs from its manifest, the hub refuses or cannot be reached, or `repo` holds
            something else. The repository then has all files or none.
    """
    from poolfold.hub import push as push_files
    from poolfold.verify import verify

    manifest = verify(directory)
    return manifest, push_files(Path(directory), manifest, repo, revision=revision, private=private, force=force)


def build(
    directory: str | Path,
    targets: Sequence[str],
    *,
    output: str | Path | None = None,
    strategies: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    batch: Triple = (1, 8, 64),
    seq_len: Triple | None = None,
    buckets: Sequence[int] | Literal["auto"] | None = None,
    texts: Sequence[str] = (),
    force: bool = False,
    builder_level: int | None = None,
    workspace_gib: float | None = None,
    version_compatible: bool = False,
    hardware_compatibility: str = "none",
    compute_capabilities: Sequence[str] = (),
    strip_weights: bool = False,
    revision: str | None = None,
    console: Console = QUIET,
) -> Manifest:
    """Build engines from the graphs of an artifact, and add them to it: `poolfold build`.

    >>> import exporter
    >>> manifest = exporter.build("fp16-artifact", ["tensorrt-rtx"], seq_len=(1, 16, 16))
    >>> {(engine.target, engine.dtype, engine.status) for engine in manifest.engines}
    {('tensorrt-rtx', 'fp16', 'built')}

    Args:
        directory: an artifact, made here or elsewhere; or a hub id.
        targets: whose engines.
        output: where the result goes; None for over `directory`.
        strategies: of the artifact's; empty for all.
        dtypes: of the artifact's; empty for all that the target builds.
        batch: as for `export`.
        seq_len: as for `export`.
        buckets: as for `export`.
        texts: your own texts, for `buckets="auto"`.
        force: replace an artifact at `output`.
        builder_level: as for `export`.
        workspace_gib: as for `export`.
        version_compatible: as for `export`.
        hardware_compatibility: as for `export`.
        compute_capabilities: as for `export`.
        strip_weights: as for `export`.
        revision: branch, tag or commit of a hub id.
        console: where progress and warnings go.

    Returns:
        The manifest of what was published.

    Raises:
        PoolfoldError: bad input, an unavailable target, a build that failed. Both directories are then as they were.
    """
    from exporter.pipeline.add_engines import BuildRequest, build_into
    from exporter.spec.build_options import BuildOptions
    from exporter.spec.model import read_dtypes
    from exporter.spec.options import Shapes
    from poolfold.hub import find_artifact, require_own_place

    place = find_artifact(directory, revision)
    require_own_place(directory, place, output)
    options = BuildOptions(
        builder_level,
        workspace_gib,
        version_compatible,
        hardware_compatibility,
        tuple(compute_capabilities),
        strip_weights,
    )
    request = BuildRequest(
        directory=place,
        output=Path(output or place),
        targets=tuple(dict.fromkeys(targets)),
        strategies=tuple(dict.fromkeys(strategies)),
        dtypes=read_dtypes(dtypes),
        shapes=Shapes(batch, seq_len, buckets if isinstance(buckets, str) or buckets is None else tuple(buckets)),
        texts=tuple(texts),
        options=options,
        force=force,
    )
    return build_into(request, console)


def validate(
    directory: str | Path,
    *,
    target: str = "onnxruntime",
    provider: str = "cpu",
    texts: Sequence[str] = (),
    validate_seconds: float | None = None,
    validate_length: int | None = None,
    model: str | Path | None = None,
    threads: int | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    revision: str | None = None,
    console: Console = QUIET,
) -> tuple[ParityReport, ...]:
    """Check what an artifact runs on a target against the model it came from: `poolfold validate`.

    A check that fails does not raise: it is the answer.

    >>> import exporter
    >>> reports = exporter.validate("artifact", model="checkpoint", texts=["a text of mine"])
    >>> all(report.passed for report in reports)
    True

    Args:
        directory: the artifact, or a hub id.
        target: check what runs on it.
        provider: what ONNX Runtime computes with; all but `cpu` need an NVIDIA GPU.
        texts: your own texts, checked besides poolfold's corpus.
        validate_seconds: as for `export`.
        validate_length: as for `export`.
        model: where the model is now; None for the hub id that the artifact has.
        threads: of a session; None for `default_threads`.
        allow_pickle: as for `export`.
        trust_remote_code: as for `export`.
        revision: branch, tag or commit of the artifact's hub id.
        console: where progress and warnings go.

    Returns:
        The checks of each graph or engine, form by form.

    Raises:
        PoolfoldError: bad input, another model, a target that is not available.
    """
    from exporter.pipeline.check_artifact import CheckRequest, validate_artifact
    from exporter.spec.options import read_validation
    from exporter.spec.origin import Trust
    from poolfold.hub import find_artifact

    validation = read_validation(validate_seconds, validate_length)
    trust = Trust(allow_pickle, trust_remote_code)
    where = None if model is None else str(model)
    request = CheckRequest(find_artifact(directory, revision), target, provider, where, threads, trust)
    return validate_artifact(request, tuple(texts), validation, console)


def bench(
    directory: str | Path,
    *,
    target: str = "onnxruntime",
    provider: str = "cpu",
    seconds: int = 60,
    model: str | Path | None = None,
    threads: int | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    revision: str | None = None,
    console: Console = QUIET,
) -> LatencyReport:
    """Measure latency, throughput and memory of an artifact against its model, interleaved: `poolfold bench`.

    >>> import exporter
    >>> report = exporter.bench("artifact", model="checkpoint", seconds=1)
    >>> sorted({system.runtime for system in report.systems})
    ['onnxruntime', 'pytorch']

    Args:
        directory: the artifact, or a hub id.
        target: measure what runs on it.
        provider: what ONNX Runtime computes with; all but `cpu` need an NVIDIA GPU.
        seconds: about how long to measure.
        model: where the model is now; None for the hub id that the artifact has.
        threads: of every system alike; None for `default_threads`.
        allow_pickle: as for `export`.
        trust_remote_code: as for `export`.
        revision: branch, tag or commit of the artifact's hub id.
        console: where progress and warnings go.

    Raises:
        PoolfoldError: bad input, another model, a target that is not available.
    """
    from exporter.pipeline.check_artifact import CheckRequest, measure_latency
    from exporter.spec.origin import Trust
    from poolfold.hub import find_artifact

    trust = Trust(allow_pickle, trust_remote_code)
    where = None if model is None else str(model)
    request = CheckRequest(find_artifact(directory, revision), target, provider, where, threads, trust)
    return measure_latency(request, seconds, console)


def compare(
    model: str | Path,
    data: str | Path,
    *,
    kind: str | None = None,
    file_format: str | None = None,
    columns: Sequence[str] = (),
    pooling: Sequence[str] = (),
    dtypes: Sequence[str] = ("fp32", "fp16"),
    output: str | Path | None = None,
    against: Sequence[str | Path] = (),
    margin: float = 0.01,
    seconds: int = 40,
    skip_cost: bool = False,
    revision: str | None = None,
    threads: int | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    tokenizer: Literal["file", "transformers"] = "file",
    console: Console = QUIET,
) -> ComparisonReport:
    """Compare pooling strategies on your data: quality with intervals, speed and memory: `poolfold compare`.

    >>> import exporter
    >>> report = exporter.compare("artifact", "pairs.tsv", dtypes=["fp32"], skip_cost=True, output="which")
    >>> report.comparison.verdict.recommended in ("mean", "cls")
    True
    >>> report.page.name
    'report.html'

    Args:
        model: a model, or an artifact.
        data: pairs, triplets, labelled or bare texts, a folder in BEIR's layout, or a data set's hub id.
        kind: what `data` is; None for what its columns tell.
        file_format: how it is written; None for what its suffix tells.
        columns: two texts and a score; anchor, positive and negative; question and answer; text and label; or text.
            Empty for their usual names.
        pooling: strategies; empty for the trained one, `cls`, `mean` and `max`, or all of an artifact's.
        dtypes: precisions; the verdict goes by the first.
        output: the folder of the report and of what was made for it; None for the user's cache.
        against: other models, such as a distilled one; the trained strategy of each takes part.
        margin: a difference of less than this, in points of the metric that decides, counts as none.
        seconds: about how long to time.
        skip_cost: leave out speed and memory.
        revision: branch, tag or commit of a hub id.
        threads: of a session; None for `default_threads`.
        allow_pickle: as for `export`.
        trust_remote_code: as for `export`.
        tokenizer: as for `export`.
        console: where progress and warnings go.

    Raises:
        PoolfoldError: bad input, or an export that failed.
    """
    from exporter.host.libraries import require

    if not 0 < margin <= 1:
        raise InputError(f"the margin is {margin:g}; expected points of a metric, above 0 and at most 1, such as 0.01.")
    require("datasets", "jinja2", "matplotlib", "pyarrow", "pytrec_eval", "scipy", "sklearn")
    from exporter.comparison.entries import CompareOptions
    from exporter.comparison.folder import comparison_folder
    from exporter.comparison.read_task import read_task
    from exporter.reporting.comparison_page import compare_and_report
    from exporter.spec.model import read_dtypes
    from exporter.spec.names import read_pooling
    from exporter.spec.origin import TokenizerSource, Trust

    options = CompareOptions(
        model=str(model),
        data=str(data),
        against=tuple(str(other) for other in against),
        folder=comparison_folder(None if output is None else Path(output), str(model), str(data)),
        pooling=tuple(dict.fromkeys(read_pooling(name) for name in pooling)),
        dtypes=read_dtypes(dtypes),
        revision=revision,
        threads=threads,
        seconds=seconds,
        skip_cost=skip_cost,
        trust=Trust(allow_pickle, trust_remote_code),
        margin=margin,
        tokenizer=TokenizerSource(tokenizer),
    )
    return compare_and_report(options, read_task(str(data), kind, file_format, tuple(columns)), console)
