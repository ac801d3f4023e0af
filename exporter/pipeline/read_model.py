"""Read a model and check the user's options against it: the plan of an export.

Needs no PyTorch: the weights are not read.
"""

from __future__ import annotations

from exporter.host.console import Stage, count
from exporter.model.checkpoint.content_hash import content_hash
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.parity.tokens import read_texts
from exporter.pipeline.plan import Plan
from exporter.spec.choices import choose_head, choose_strategies, require_foldable
from exporter.spec.options import ExportOptions
from exporter.spec.profiles import choose_profiles
from graphs.pooling.head import Head, Normalize, Truncate, cut_of
from graphs.pooling.strategy import strategy_name
from poolfold.errors import InputError
from poolfold.tokenise import Tokenizer

_IMPORTS_S = 5.0
_READ_S = 4e-9
"""Seconds a weight: it is hashed, and looked at for what is not finite."""


def read_plan(options: ExportOptions, stage: Stage) -> Plan:
    """Make the plan, and say on `stage` what the model is.

    Raises:
        PoolfoldError: a model that cannot be read, or options that do not go with it.
    """
    source = resolve_source(options.model, options.revision, options.trust)
    spec = read_spec(source, options.trust, options.tokenizer, longest=options.max_seq_length)
    stage.expect(_IMPORTS_S + _READ_S * spec.parameters)
    limit = spec.text.max_seq_length
    if options.max_seq_length is not None and options.max_seq_length > limit:
        raise InputError(
            f"--max-seq-length {options.max_seq_length} is more than the {limit} tokens that the model takes."
        )
    options.validation.require_within(limit)
    strategies = choose_strategies(spec, options.pooling)
    require_foldable(options.fold_prompts, spec, strategies, options.targets, options.dtypes)
    head = choose_head(spec, strategies, options.cut)
    tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
    special = len(tokenizer.ids([""])[0])
    if special >= limit:
        raise InputError(f"A limit of {limit} tokens leaves none for the text beside {special} special ones. Raise it.")
    tokens = read_texts(spec, options.judging, limit)
    by_text = dict(zip(tokens.texts, tokens.rows, strict=True))
    lengths = [len(by_text[text]) for text in options.texts if text in by_text]
    profiles = () if options.shapes is None else choose_profiles(limit, options.shapes, lengths)
    revision = f" @ {source.revision[:12]}" if source.revision else ""
    trained = "pooling not said" if spec.trained is None else f"trained with {strategy_name(spec.trained)}"
    stage.outcome = (
        f"{source.name}{revision}: {spec.model_type}, {count(spec.num_layers, 'layer')}, {trained}, "
        f"up to {spec.text.max_seq_length} tokens{_about_cut(head)}"
    )
    if options.cut.dimensions is None and [type(part) for part in head[-2:]] == [Normalize, Truncate]:
        kept = cut_of(head).dimensions
        stage.warn(
            f"the checkpoint cuts its unit vectors to {kept} values (truncate_dim), and normalises "
            f"them no more, as sentence-transformers. --dimensions {kept} does."
        )
    for strategy in strategies:
        if spec.trained is not None and strategy != spec.trained:
            stage.warn(
                f"{strategy_name(strategy)} is untrained: the checkpoint was trained with "
                f"{strategy_name(spec.trained)}, and vectors of another pooling are usually worse."
            )
    return Plan(spec, content_hash(spec), strategies, head, profiles, tokens)


def _about_cut(head: Head) -> str:
    cut = cut_of(head)
    if cut.dimensions is None:
        return ""
    return f", cut to {cut.dimensions} values{' and normalised again' if cut.renormalize else ''}"
