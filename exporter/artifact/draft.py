"""An artifact in the making: a frozen value that each stage takes and returns fuller."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exporter.artifact.layout import MODEL_CARD
from exporter.host.environment import environment
from poolfold import manifest as m
from poolfold.verify import describe

_NOT_LISTED = (m.MANIFEST_NAME, MODEL_CARD)


@dataclass(frozen=True)
class Draft:
    """What the manifest will say, and the directory that it will stand in.

    hashed: files whose hash is known and whose bytes have not changed since, by path.
    environment: the machine that the numbers come from; None for this one.
    """

    directory: Path
    model: m.Model
    strategies: tuple[m.Strategy, ...]
    graphs: tuple[m.Graph, ...] = ()
    engines: tuple[m.Engine, ...] = ()
    parity: tuple[m.Parity, ...] = ()
    latency: tuple[m.Latency, ...] = ()
    latency_left_out: Mapping[str, str] = field(default_factory=dict)
    folded_prompts: tuple[m.FoldedPrompt, ...] = ()
    portable: m.Portable | None = None
    validated_up_to: int | None = None
    hashed: Mapping[str, m.File] = field(default_factory=dict)
    environment: Mapping[str, Any] | None = None

    def seal(self) -> tuple[Draft, m.Manifest]:
        """Describe every file in the directory but a model card, and write the manifest, so that it can be loaded.

        Returns:
            The draft, which now knows every hash; the manifest.
        """
        paths = sorted(path for path in self.directory.rglob("*") if path.is_file())
        names = [(path, path.relative_to(self.directory).as_posix()) for path in paths]
        names = [(path, name) for path, name in names if name not in _NOT_LISTED]
        manifest = m.Manifest(
            schema_version=m.SCHEMA_VERSION,
            poolfold_version=version("poolfold"),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            command=("poolfold", *(bare(argument, keep=self.model.source) for argument in sys.argv[1:])),
            model=self.model,
            strategies=self.strategies,
            graphs=self.graphs,
            engines=self.engines,
            files=tuple(self.hashed.get(name) or describe(self.directory, path) for path, name in names),
            parity=self.parity,
            latency=self.latency,
            latency_left_out=dict(self.latency_left_out),
            folded_prompts=self.folded_prompts,
            validated_up_to=self.validated_up_to,
            portable=self.portable,
            environment=environment() if self.environment is None else self.environment,
        )
        sealed = m.dumps(manifest)
        (self.directory / m.MANIFEST_NAME).write_bytes(sealed)
        # What a reader will get, which has plain strings where a stage put a member of an enumeration.
        manifest = m.loads(sealed)
        return replace(self, hashed={file.path: file for file in manifest.files}), manifest


def bare(argument: str, *, keep: str) -> str:
    """An argument of the command with a path cut to its last name, so that no artifact tells of the machine it is from.

    `--option=path` keeps the option; `keep`, which may be a hub id, stays.
    """
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if value != keep:
        value = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return f"{option}{equals}{value}"
