"""Artifacts by the names that requests call them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolfold.encoder import Encoder


class UnknownModel(Exception):
    """No model is served by that name."""


@dataclass(frozen=True, eq=False)
class Served:
    """One strategy of an artifact.

    name: of the artifact's folder, or what it was given.
    listed: what /v1/models calls it: `name`, or `name:strategy` where several strategies of it are served.
    """

    name: str
    listed: str
    encoder: Encoder


class Models:
    """What is served; one or more."""

    def __init__(self, served: Sequence[Served]) -> None:
        """Take them in the order in which they are listed."""
        self.served = tuple(served)

    def find(self, name: str | None) -> tuple[Served, str | None]:
        """The model that a request means, and the prompt that its name asks for.

        A name is the model's, then, in any order and as far as they are needed, `:strategy` and `:prompt`. Where one
        is served, a name that is no model's here is taken for it, since clients must send some name; what begins with
        the served one's name must be right to its end, since a misspelt prompt would give another vector.

        Raises:
            UnknownModel: there is none, or it might be several.
        """
        base, *parts = (name or "").split(":")
        found = [served for served in self.served if served.name == base]
        if not found and len(self.served) == 1:
            (only,) = self.served
            return only, next((part for part in parts if part in only.encoder.prompts), None)
        prompt = None
        for part in parts:
            of_strategy = [served for served in found if served.encoder.strategy == part]
            if of_strategy:
                found = of_strategy
            elif prompt is None and any(part in served.encoder.prompts for served in found):
                prompt = part
            else:
                found = []
        if len(found) != 1:
            got = f"no model is called {name!r}" if name else "no model is named"
            if len(found) > 1:
                got = f"{name!r} may be several models"
            raise UnknownModel(f"{got}; served: {', '.join(self._names())}.")
        return found[0], prompt

    def _names(self) -> list[str]:
        names = []
        for served in self.served:
            prompts = [f"{served.listed}:{prompt}" for prompt, text in served.encoder.prompts.items() if text]
            names += [served.listed, *prompts]
        return names
