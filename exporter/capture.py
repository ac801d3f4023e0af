"""All that needs PyTorch: read the checkpoint, trace its encoder, compute the vectors that candidates must give.

Runs in a process of its own (`own_process`), which ends before graphs are built. Its result is plain values, and the
encoder as a file.
"""

from __future__ import annotations

from pathlib import Path

import torch

from exporter.checkpoint.read import read_spec
from exporter.checkpoint.source import resolve_source
from exporter.checkpoint.weights import check_weights
from exporter.console import Console
from exporter.encoder_export import export_encoder
from exporter.options import ExportOptions
from exporter.parity.checks import run_reference
from exporter.parity.corpus import corpus
from exporter.parity.tokens import tokenise
from exporter.plan import Capture, Plan
from exporter.recipes import prepare_encoder
from exporter.reference import Reference, load_backbone
from exporter.request import choose_head, choose_profile, choose_strategies
from graphs.cleanup import cleanup
from graphs.strategy import strategy_name
from graphs.weights import save_graphs
from poolfold.tokenise import Tokenizer


def capture(options: ExportOptions, scratch: Path, console: Console) -> Capture:
    """Capture a checkpoint; the encoder is written into `scratch`.

    Raises:
        PoolfoldError: bad input, or a model that cannot be traced.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    plan = _read(options, console)
    with console.stage("trace") as stage:
        backbone = load_backbone(plan.spec)
        encoder = export_encoder(backbone, plan.spec)
        before = len(encoder.graph)
        cleanup(encoder)
        prepare_encoder(encoder)
        path = scratch / "encoder.onnx"
        save_graphs({path: encoder}, scratch / "encoder.bin")
        stage.outcome = f"encoder, once: opset {encoder.opset_imports['']}, {before} -> {len(encoder.graph)} nodes"
    with console.stage("reference") as stage:
        run = run_reference(
            Reference(backbone, plan.head),
            plan.tokens,
            plan.strategies,
            progress=lambda done, total: stage.progress(done, total, f"{done} of {total} texts"),
        )
        stage.outcome = f"{len(plan.tokens.rows)} texts in PyTorch fp32"
    return Capture(plan, run, path)


def _read(options: ExportOptions, console: Console) -> Plan:
    with console.stage("read") as stage:
        source = resolve_source(
            options.model,
            options.revision,
            allow_pickle=options.allow_pickle,
            trust_remote_code=options.trust_remote_code,
        )
        spec = read_spec(source, allow_pickle=options.allow_pickle, trust_remote_code=options.trust_remote_code)
        strategies = choose_strategies(spec, options.pooling)
        head = choose_head(spec, strategies, options.dimensions)
        profile = choose_profile(spec, options.batch, options.seq_len)
        check_weights(spec.transformer, allow_pickle=options.allow_pickle)
        tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
        tokens = tokenise((*corpus(spec.text.max_seq_length), *options.texts), tokenizer)
        revision = f" @ {source.revision[:12]}" if source.revision else ""
        trained = "pooling not said" if spec.trained is None else f"trained with {strategy_name(spec.trained)}"
        stage.outcome = (
            f"{source.name}{revision}: {spec.model_type}, {spec.num_layers} layers, {trained}, "
            f"up to {spec.text.max_seq_length} tokens"
        )
        for strategy in strategies:
            if spec.trained is not None and strategy != spec.trained:
                stage.warn(
                    f"{strategy_name(strategy)} is untrained: the checkpoint was trained with "
                    f"{strategy_name(spec.trained)}, and vectors of another pooling are usually worse."
                )
    return Plan(spec, strategies, head, profile, tokens)
