"""What a request asks for -> vectors. Knows models, limits and the queue; nothing of HTTP's forms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poolfold.encoder.call import Call, read_call
from poolfold.encoder.embed_texts import names_of
from poolfold.serve.batcher import Batcher, Work
from poolfold.serve.failures import Failure, TooLong
from poolfold.serve.limits import Limits
from poolfold.serve.metrics import Metrics
from poolfold.serve.models import Models, Served

_BATCH_SIZE = 64
_AT_ONCE = 4096
"""Characters that are tokenised in the loop itself: a thread would take longer to start."""


class Asked(NamedTuple):
    """What a request asks for, whatever the route.

    prompt_name: None for the model's default prompt.
    truncate: None for the service's default.
    """

    model: str | None = None
    prompt_name: str | None = None
    prompt: str | None = None
    truncate: bool | None = None
    truncation_side: str | None = None
    dimensions: int | None = None
    normalize: bool = False


class Answer(NamedTuple):
    """What a request gets: float32 [texts, dim], or of each text float32 [tokens, hidden]; and the tokens read."""

    made: Any
    tokens: int
    model: str


class Service:
    """Models behind one queue. Its methods belong to the event loop."""

    def __init__(self, models: Models, limits: Limits, metrics: Metrics, workers: int, batch_tokens: int) -> None:
        """Start to compute."""
        self.models, self.limits, self._metrics = models, limits, metrics
        self.batch_tokens = batch_tokens
        self._batcher = Batcher(workers, batch_tokens=batch_tokens, most_waiting=limits.waiting, told=metrics.batch)
        metrics.watch(lambda: self._batcher.texts, lambda: self._batcher.tokens, lambda: len(self.models.served))

    def require_room(self) -> None:
        """Raise Full before anything is read where the queue is full already."""
        self._batcher.require_room()

    async def embed(self, texts: Sequence[str], asked: Asked, client: str, gone: asyncio.Future[Any]) -> Answer:
        """The vectors of texts.

        gone: done where nobody waits for the answer any more.

        Raises:
            Failure, PoolfoldError, Full, UnknownModel, TimeoutError: see `failures`.
            CancelledError: the client is gone.
        """
        served, call = self._read(texts, asked)
        encoder = served.encoder
        key = (served, call.prompt)
        left_out = encoder.tokenizer.left_out(call.prompt)

        def compute(rows: Sequence[Sequence[int]], names: Sequence[str]) -> Iterator[tuple[int, Any]]:
            folded = encoder.folded.get(call.prompt)
            batches = encoder.runner().batches(rows, names, _BATCH_SIZE, left_out=left_out, folded=folded)
            for indices, vectors in batches:
                yield from zip(indices, vectors, strict=True)

        rows = await self._tokenized(served, texts, call)
        made = np.stack(await self._computed(rows, texts, key, compute, client, gone))
        small = call.small
        cut = small.cut(made)
        if small.dimensions is not None:
            encoder.runner().refuse(cut, names_of(texts, 0))
        vectors: npt.NDArray[np.float32] = small.of(cut)
        return Answer(vectors, sum(map(len, rows)), served.listed)

    async def embed_all(self, texts: Sequence[str], asked: Asked, client: str, gone: asyncio.Future[Any]) -> Answer:
        """The vectors of each text's tokens; arguments and errors as of `embed`."""
        served, call = self._read(texts, asked)
        tokens, text = served.encoder.token_runner(), served.encoder.model.text

        def compute(rows: Sequence[Sequence[int]], names: Sequence[str]) -> Iterator[tuple[int, Any]]:
            return tokens.of_rows(rows, names, text, _BATCH_SIZE, None)

        rows = await self._tokenized(served, texts, call)
        made = await self._computed(rows, texts, (served, None), compute, client, gone)
        return Answer(made, sum(map(len, rows)), served.listed)

    def find(self, model: str | None, prompt_name: str | None = None) -> tuple[Served, str | None]:
        """The model of a name, and the prompt to use: what the request names, else what the model's name does."""
        served, of_name = self.models.find(model)
        if prompt_name is not None and of_name not in (None, prompt_name):
            raise Failure(422, f"model names the prompt {of_name!r}, and prompt_name {prompt_name!r}. Leave one out.")
        return served, of_name if prompt_name is None else prompt_name

    def require_texts(self, texts: Sequence[object]) -> None:
        """Raise Failure where there are none, or too many of them."""
        if not texts:
            raise Failure(422, "there is no text; expected one or more.")
        if len(texts) > self.limits.texts:
            raise Failure(
                413,
                f"there are {len(texts)} texts; expected at most {self.limits.texts}. Send them in several requests.",
            )

    def close(self) -> None:
        """End the computing; what waits is lost."""
        self._batcher.close()

    def _read(self, texts: Sequence[str], asked: Asked) -> tuple[Served, Call]:
        self.require_texts(texts)
        served, prompt_name = self.find(asked.model, asked.prompt_name)
        if asked.prompt is not None and prompt_name is not None:
            raise Failure(422, f"got a prompt and the name of one, {prompt_name!r}. Leave one out.")
        call = read_call(
            served.encoder,
            prompt_name=prompt_name,
            prompt=asked.prompt,
            dimensions=asked.dimensions,
            normalize_embeddings=asked.normalize,
            truncate=self.limits.truncate if asked.truncate is None else asked.truncate,
            truncation_side=asked.truncation_side,
        )
        return served, call

    async def _tokenized(self, served: Served, texts: Sequence[str], call: Call) -> list[list[int]]:
        """Ids of texts; those of a few in the loop, of many in a thread."""
        read: Callable[[], list[list[int]]] = partial(self._rows, served, texts, call)
        rows = read() if sum(map(len, texts)) <= _AT_ONCE else await asyncio.to_thread(read)
        tokens = sum(map(len, rows))
        if tokens > self.limits.tokens and len(rows) > 1:
            raise Failure(
                413, f"the texts have {tokens} tokens; expected at most {self.limits.tokens}. Send fewer at once."
            )
        return rows

    def _rows(self, served: Served, texts: Sequence[str], call: Call) -> list[list[int]]:
        """Ids of texts. Those that are cut are counted, whether their request allows it or not says `call`."""
        cut = 0

        def count(texts: int, _of: int, most: int) -> None:
            nonlocal cut
            cut = texts
            if call.truncate is False:
                raise TooLong(
                    f"{texts} of {_of} texts have more than {most} tokens, which is what this model reads. Split them, "
                    "or send truncate: true to have them cut."
                )

        rows = served.encoder.reader(count).rows(texts, replace(call, truncate=None), 0)
        if cut:
            self._metrics.cut(cut)
        return rows

    async def _computed(
        self,
        rows: Sequence[Sequence[int]],
        texts: Sequence[str],
        key: object,
        compute: Callable[..., Any],
        client: str,
        gone: asyncio.Future[Any],
    ) -> list[Any]:
        loop = asyncio.get_running_loop()
        work = Work(
            key=key,
            client=client,
            lengths=[len(row) for row in rows],
            ids=rows,
            names=names_of(texts, 0),
            compute=compute,
            loop=loop,
            done=loop.create_future(),
        )
        self._batcher.submit(work)
        try:
            await asyncio.wait((work.done, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done.done():
                raise asyncio.CancelledError
            return work.done.result()
        finally:
            if not work.done.done():
                self._batcher.drop(work)
                work.done.cancel()
            elif not work.done.cancelled():
                work.done.exception()  # it was asked for: nobody is to be told that nobody did
