"""`poolfold distill`: teach one pooling to give another's vectors, and say what that did."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from exporter.artifact.publish import require_apart
from exporter.commands import flags
from exporter.host.console import Console
from exporter.host.text_file import read_texts
from exporter.spec.origin import TokenizerSource, Trust
from poolfold.errors import InputError

_FEWEST_OTHERS = 12
"""Texts of another domain below which ten nearest neighbours are all there are."""


@click.command(
    epilog=flags.examples(
        "poolfold distill all-MiniLM-L6-v2 --texts texts.txt -o minilm-cls",
        "poolfold distill minilm --texts texts.txt --other german.txt -o minilm-cls",
    )
)
@click.argument("model")
@click.option("--to", type=flags.Pooling(), default="cls", metavar="S", help="The strategy that learns.")
@click.option(
    "--from",
    "teacher",
    type=flags.Pooling(),
    default="trained",
    metavar="S",
    help="The strategy whose vectors it learns.",
)
@click.option("--texts", type=flags.FOLDER, required=True, metavar="FILE", help="What to learn from, one text a line.")
@click.option("--data", metavar="PAIRS", help="Scored pairs to learn from as well, as `compare` reads them.")
@click.option(
    "--other",
    type=flags.FOLDER,
    multiple=True,
    metavar="FILE",
    help="Texts of another domain or language, to report on. Repeat.",
)
@click.option("-o", "--output", type=flags.FOLDER, required=True, metavar="CHECKPOINT", help="What is written.")
@click.option("--steps", type=click.IntRange(min=1), default=250, help="Batches at most.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Texts in a batch.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-4, help="At its highest.")
@click.option("--evaluate", type=click.IntRange(min=1), default=25, help="Batches between looks at held-out texts.")
@click.option("--patience", type=click.IntRange(min=1), default=3, help="Looks without progress before it stops.")
@click.option("--seed", type=int, default=0, help="Of the order of texts.")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id.")
@click.option("--force", is_flag=True, help="Replace CHECKPOINT, and an unfinished training of another kind.")
@flags.pickle
@flags.remote
@flags.tokenizer
@flags.as_json
@flags.quiet
def distill(
    *,
    model: str,
    texts: Path,
    data: str | None,
    other: tuple[Path, ...],
    output: Path,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Teach one pooling to give another's vectors.

    Writes a sentence-transformers checkpoint, whose cls, say, gives what mean gave.
    """
    console = Console(as_json=as_json, quiet=quiet)
    require_apart(output, [Path(model), texts, *other])
    own = _texts(texts)
    others = {path.stem: _texts(path, _FEWEST_OTHERS) for path in other}
    if len(others) < len(other):
        raise InputError("two files of --other have one name. Rename one: the report calls the texts by it.")
    with console.waiting("distill"):
        # Not before: a light install lacks what these import.
        from exporter.comparison.read_task import read_task
        from exporter.comparison.tasks import Pairs

        pairs = None if data is None else read_task(data, "pairs")
        assert pairs is None or isinstance(pairs, Pairs)
        # A bar of its own, and a fork warned of on every step.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from exporter.distillation.distil import Distilled, DistilOptions, distil
        from exporter.distillation.distil import as_json as as_object
        from exporter.distillation.training import Recipe

        recipe = Recipe(**{name: given.pop(name) for name in Recipe.__dataclass_fields__})
        trust = Trust(given.pop("allow_pickle"), given.pop("trust_remote_code"))
        source = TokenizerSource(given.pop("tokenizer"))
        options = DistilOptions(
            model=model,
            texts=own,
            pairs=pairs,
            others=others,
            output=output,
            recipe=recipe,
            trust=trust,
            tokenizer=source,
            **given,
        )
        distilled: Distilled = distil(options, console)
    rows = []
    for name, before in distilled.before.items():
        after = distilled.after[name]
        rows.append([
            name, str(before.texts), f"{before.cosine:.4f}", f"{after.cosine:.4f}", f"{before.spearman:.4f}",
            f"{after.spearman:.4f}", f"{before.neighbours:.3f}", f"{after.neighbours:.3f}",
        ])  # fmt: skip
    console.table(
        f"{distilled.student} beside its teacher, {distilled.teacher}: before and after",
        ("texts", "number", "cosine", "after", "spearman", "after", "top 10", "after"),
        rows,
    )
    console.note(
        "cosine: of the two vectors. spearman: of the similarities of any two texts. top 10: neighbours shared."
    )
    console.line(f"Checkpoint: {output}")
    console.line(f"Next: poolfold compare {model} --against {output} --data DATA")
    console.json(as_object(distilled, options))


def _texts(path: Path, fewest: int = 1) -> tuple[str, ...]:
    """The different texts of a file, one a line; lines without one are left out, for an empty text teaches nothing."""
    texts = tuple(dict.fromkeys(text for text in read_texts(path) if text.strip()))
    if len(texts) < fewest:
        raise InputError(f"{path} has {len(texts)} texts; expected {fewest} at least, one a line.")
    return texts
