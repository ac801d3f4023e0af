"""The encoder that people call: texts or token ids to vectors, by the names and meanings of sentence-transformers.

Independent of runtimes and files; of the manifest it reads only `Model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Literal, Self, Unpack, overload

import numpy as np
import numpy.typing as npt

from poolfold.encoder import tensors
from poolfold.encoder.call import BATCH_SIZE, Call, Options, named_once, read_call, read_prompt, read_reading
from poolfold.encoder.embed_texts import Reader, embed_rows, embedded, joined, names_of
from poolfold.encoder.inputs import Texts, check_batch, check_texts, one_of
from poolfold.encoder.pool import count_devices, map_in_pool, pool_of, start_pool, stop_pool
from poolfold.encoder.progress import Tell, both, progress_bar
from poolfold.encoder.runner import Runner
from poolfold.encoder.settings import DOCUMENT, QUERY, Settings
from poolfold.encoder.similarity import similarity, similarity_pairwise
from poolfold.encoder.small_vectors import Ranges
from poolfold.encoder.token_vectors import TokenVectors
from poolfold.encoder.warn import Once
from poolfold.errors import InputError
from poolfold.manifest import EMBEDDING, Model, Output, RunMemory
from poolfold.sessions import Session
from poolfold.sessions.behind_prompt import Folded
from poolfold.tokenise import Input, Tokenizer, pad

_BATCHES_AT_ONCE = 8
"""Batches whose texts `encode_iter` sorts by length together, and holds."""


@dataclass(eq=False)
class Encoder(Settings):
    """A loaded model. Safe to share between threads. To free its weights, call `close` or use a `with` statement.

    Pickled, it is the directory that it was loaded from and how; a process that unpickles it loads it again.

    strategy, dtype, target: what `load` chose.
    dim: length of a vector.
    model: the checkpoint's description in the manifest.
    output: what the graph gives, and which rows are refused.
    folded: prompts that need not be computed, by their text.
    again: loads it again; None for one that was not made by `load`, which cannot be pickled.
    run_memory: what a run takes on a CPU; None on a GPU, and where it is not known.
    memory: bytes that a run may take by this; None for half of what this process may take when it is called.
    validated_up_to: tokens of the longest text that was checked against the model, as the manifest says. The first
        longer one warns.
    ranges: of the values of vectors, which `encode` in int8 needs; None in artifacts before 0.7.
    device_name: what computes, as PyTorch names it.
    tokens: gives the vectors of tokens; None where the artifact has no graph for them.
    identity: a name for what the vectors depend on: graph, weights, tokeniser, limits and prompts. Artifacts whose
        vectors may be compared have the same. None for an encoder that was not made by `load`.
    """

    session: Session = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    strategy: str = field(kw_only=True)
    dtype: str = field(kw_only=True)
    target: str = field(kw_only=True)
    dim: int = field(kw_only=True)
    model: Model = field(kw_only=True, repr=False)
    output: Output = field(default=EMBEDDING, kw_only=True, repr=False)
    folded: Mapping[str, Folded] = field(default_factory=dict, kw_only=True, repr=False)
    run_memory: RunMemory | None = field(default=None, kw_only=True, repr=False)
    memory: int | None = field(default=None, kw_only=True, repr=False)
    again: Callable[[], Encoder] | None = field(default=None, kw_only=True, repr=False)
    validated_up_to: int | None = field(default=None, kw_only=True, repr=False)
    ranges: Ranges | None = field(default=None, kw_only=True, repr=False)
    device_name: str = field(default="cpu", kw_only=True, repr=False)
    tokens: TokenVectors | None = field(default=None, kw_only=True, repr=False)
    identity: str | None = field(default=None, kw_only=True, repr=False)
    _once: Once = field(default_factory=Once, init=False, repr=False)

    def __setattr__(self, name: str, value: Any) -> None:
        """What was loaded stays; a caller may set what `Settings` has."""
        if name in self.__dataclass_fields__ and name in self.__dict__:
            raise AttributeError(f"{name} cannot be set: it tells what was loaded. Load the artifact again.")
        super().__setattr__(name, value)

    @property
    def device(self) -> Any:
        """What computes: a `torch.device` where PyTorch is imported, else its name."""
        return tensors.device(self.device_name)

    @overload
    def encode(
        self,
        texts: Texts | None = None,
        batch_size: int | str = BATCH_SIZE,
        *,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: Literal["float32"] | None = "float32",
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        **options: Unpack[Options],
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def encode(
        self,
        texts: Texts | None = None,
        batch_size: int | str = BATCH_SIZE,
        *,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: str | None,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        **options: Unpack[Options],
    ) -> npt.NDArray[Any]: ...
    @overload
    def encode(
        self,
        texts: Texts | None = None,
        batch_size: int | str = BATCH_SIZE,
        *,
        output_value: str | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        **options: Unpack[Options],
    ) -> Any: ...
    def encode(
        self,
        texts: Texts | None = None,
        batch_size: int | str = BATCH_SIZE,
        *,
        inputs: Texts | None = None,
        sentences: Texts | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Sequence[str] | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: dict[str, Any] | None = None,
        chunk_size: int | None = None,
        task: str | None = None,
        progress: Tell | None = None,
        memory: int | None = None,
        dimensions: int | None = None,
        max_length: int | None = None,
        truncate: bool | None = None,
        truncation_side: str | None = None,
        special_tokens: bool = True,
    ) -> Any:
        """Embed texts.

        Texts of similar length share a batch, so that little padding is computed. The rows are in input order. Texts
        are read as they are needed: of many, a call holds a few thousand and the vectors.

        Args:
            texts, inputs, sentences: one text, or any number of them; a tuple of two is a pair, read as one input.
                Longer ones are truncated to `max_seq_length`.
            batch_size: the most texts in one run; fewer where they are long, as more would not be faster on a CPU. A
                str is a prompt's name.
            prompt_name: a name in `prompts`; None for the checkpoint's default prompt, if it has one.
            prompt: text to put before each text; None for the prompt `prompt_name`.
            show_progress_bar: whether a bar on standard error tells how far it is; None is no.
            output_value: `sentence_embedding`; `token_embeddings`, a tensor of each text's tokens; None for both, with
                the ids, in a dict of tensors for each text.
            precision: of a value, as sentence-transformers' `quantize_embeddings` makes it: `float32`; `int8` or
                `uint8`, in 255 steps across the ranges that the artifact stores; `binary` or `ubinary`,
                its sign, eight values in a byte.
            convert_to_numpy: False for a list of tensors.
            convert_to_tensor: whether the result is one tensor.
            device: a list of names, such as `["cpu"] * 2`, for as many processes; else what computes already.
            normalize_embeddings: whether vectors are brought to unit length.
            truncate_dim: values to keep of each vector as they are; None for the encoder's `truncate_dim`.
            pool: what `start_multi_process_pool` gave, to embed in its processes.
            chunk_size: texts that a process takes at once.
            task: taken for sentence-transformers' sake; an artifact has one path for all.
            progress: called after each batch with the number of texts done so far.
            memory: bytes that one run may take on a CPU, by estimate; None for what `load` was given. A text that takes
                more runs alone.
            dimensions: values to keep of each vector, from the first, for a model that was trained for it (Matryoshka);
                unit vectors have unit length again. None keeps all.
            max_length: tokens to keep of each text, below the model's limit; None for `max_seq_length`.
            truncate: False raises where a text has more tokens, True is silent; None warns, once.
            truncation_side: of a text from which further tokens are dropped; None for the checkpoint's.
            special_tokens: False reads "[SEP]" and its like in a text as any other text.

        Returns:
            float32 [len(texts), dim], of one text [dim]; with fewer `dimensions` so many values a row. int8 for `int8`
            and `binary`, uint8 for `uint8` and `ubinary`; of the binary ones an eighth of the values, rounded up.

        Raises:
            InputError: an argument is invalid, or a text gives no token; the artifact lacks what a precision needs.
            CheckFailed: a vector is not finite, or is zero, or all that is kept of it is.
            OutOfMemory: one text takes more memory than this process may have.
            TargetUnavailable: tensors are asked for without PyTorch; a process of the pool died.
        """
        given = one_of(texts=texts, inputs=inputs, sentences=sentences)
        call = self._read(
            batch_size,
            prompt_name=prompt_name,
            prompt=prompt,
            precision=precision,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            memory=memory,
            dimensions=dimensions,
            max_length=max_length,
            truncate=truncate,
            truncation_side=truncation_side,
            special_tokens=special_tokens,
        )
        single = isinstance(given, str)
        read, count = check_texts([given] if single else given)
        of_tokens = output_value != EMBEDDING.name
        if of_tokens:
            _require_output_value(output_value)
        bar = progress_bar(count or None, show=bool(show_progress_bar))
        with pool_of(self, pool, device) as workers, bar as tell:
            tell = both(progress, tell)
            if workers is not None:
                method = self._features if of_tokens else self._vectors
                parts = map_in_pool(workers, method.__name__, list(read), call, chunk_size, tell)
                made = list(chain.from_iterable(parts)) if of_tokens else joined(parts, count, call.small)
            elif of_tokens:
                made = self._features(list(read), call, tell=tell)
            else:
                made = joined(self._embedded(read, call, tell), count, call.small)
        if of_tokens:
            listed = [_as_tensors(features, output_value) for features in made]
            return listed[0] if single else listed
        vectors: Any = made[0] if single else made
        if convert_to_tensor:
            return tensors.to_tensor(vectors)
        if convert_to_numpy:
            return vectors
        return tensors.to_tensor(vectors) if single else list(tensors.to_tensor(vectors)) if len(vectors) else []

    def encode_query(
        self, texts: Texts | None = None, batch_size: int | str = BATCH_SIZE, **options: Any
    ) -> npt.NDArray[np.float32]:
        """As `encode`, behind the prompt called `query` where the call names none."""
        vectors: npt.NDArray[np.float32] = self._encode_as("query", QUERY, texts, batch_size, **options)
        return vectors

    def encode_document(
        self, texts: Texts | None = None, batch_size: int | str = BATCH_SIZE, **options: Any
    ) -> npt.NDArray[np.float32]:
        """As `encode`, behind the prompt called `document`, `passage` or `corpus` where the call names none."""
        vectors: npt.NDArray[np.float32] = self._encode_as("document", DOCUMENT, texts, batch_size, **options)
        return vectors

    def encode_iter(
        self, texts: Iterable[Input], batch_size: int = BATCH_SIZE, **options: Any
    ) -> Iterator[npt.NDArray[Any]]:
        """Embed texts as they come, and give each vector once it is there; in the order of the texts.

        Args:
            texts: any iterable, of any length; no more than a few hundred are held.
            batch_size: as of `encode`.
            options: those of `encode` that say how texts are read and vectors are made.

        Yields:
            What `encode` gives for one text.

        Raises:
            PoolfoldError: as `encode`; of the arguments at once, of a text when it is read.
        """
        call = self._read(batch_size, **options)
        read, _ = check_texts(texts)
        return chain.from_iterable(self._embedded(read, call, at_once=call.batch_size * _BATCHES_AT_ONCE))

    def encode_tokens(
        self, texts: Texts, batch_size: int | str = BATCH_SIZE, **options: Any
    ) -> list[npt.NDArray[np.float32]]:
        """The vectors of each text's tokens, as NumPy arrays.

        Args:
            texts: one text, or any number of them.
            batch_size: as of `encode`.
            options: those of `encode` that say how texts are read.

        Returns:
            float32 [tokens, hidden] for each text, special tokens and a prompt's included, padding not.

        Raises:
            InputError: the artifact has no graph that gives them; else as `encode`.
            CheckFailed: a value is not finite.
        """
        call = self._read(batch_size, **options)
        read, _ = check_texts([texts] if isinstance(texts, str) else texts)
        return self._token_vectors(list(read), call)[1]

    async def aencode(self, texts: Texts | None = None, batch_size: int | str = BATCH_SIZE, **options: Any) -> Any:
        """As `encode`, in a thread, so that the event loop goes on."""
        import asyncio  # whoever awaits has it; others need not wait for it

        return await asyncio.to_thread(partial(self.encode, texts, batch_size, **options))

    def encode_multi_process(self, sentences: Sequence[str], pool: dict[str, Any], **options: Any) -> Any:
        """As `encode` with `pool`."""
        return self.encode(sentences, pool=pool, **options)

    def embed(self, input_ids: npt.ArrayLike, attention_mask: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Embed token ids, special tokens included.

        Args:
            input_ids: int64 [batch, seq], in [0, vocab_size); at most `max_seq_length` a row, at least 1.
            attention_mask: int64 [batch, seq], 1 on tokens and 0 on padding, on either side; 2 on the prompt's tokens,
                for a model that leaves them out of the pooling (`model.text.include_prompt` is false).

        Returns:
            float32 [batch, dim].

        Raises:
            InputError: an argument is invalid.
            CheckFailed: a vector is not finite, or is zero.
        """
        ids, mask = check_batch(input_ids, attention_mask, self.model)
        if not len(ids):
            return np.empty((0, self.dim), dtype=np.float32)
        self._warn_beyond(int((mask > 0).sum(axis=1).max()))
        return self.runner().ids(ids, mask)

    def tokenize(
        self, texts: Texts, prompt: str | None = None, *, max_length: int | None = None, special_tokens: bool = True
    ) -> dict[str, npt.NDArray[np.int64]]:
        """Ids of texts and their mask, as they are computed: int64 [texts, tokens of the longest] each."""
        read, _ = check_texts([texts] if isinstance(texts, str) else texts)
        reading = read_reading(self, max_length, None, special_tokens)
        text = self.tokenizer.text
        ids, mask = pad(
            self.tokenizer.read(list(read), prompt or "", reading=reading).ids, text.padding_side, text.pad_token_id
        )
        return {"input_ids": ids, "attention_mask": mask}

    preprocess = tokenize

    def token_counts(
        self,
        texts: Texts,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        special_tokens: bool = True,
    ) -> npt.NDArray[np.int64]:
        """How many tokens each text has before it is cut, special ones and the prompt's included: int64 [texts]."""
        read, _ = check_texts([texts] if isinstance(texts, str) else texts)
        before = read_prompt(self, prompt, prompt_name)
        return np.array(self.tokenizer.counts(list(read), before, special_tokens=special_tokens), dtype=np.int64)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """How alike each vector of the one is to each of the other, by `similarity_fn_name`.

        Args:
            embeddings1, embeddings2: arrays, tensors or lists of them, [rows, dim] or [dim].

        Returns:
            float32 [rows, rows], larger for more alike; a tensor where one of the two is.
        """
        return similarity(embeddings1, embeddings2, self._measure)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """How alike each vector of the one is to that in its place in the other: float32 [rows]."""
        return similarity_pairwise(embeddings1, embeddings2, self._measure)

    def start_multi_process_pool(self, target_devices: Sequence[str] | None = None) -> dict[str, Any]:
        """Start a process for each device, which loads the artifact by its path; None for four on the CPU.

        Raises:
            InputError: there is no process to start, or another device than the encoder's.
            TypeError: the encoder was not made by `load`.
        """
        return start_pool(self._again(), count_devices(self, target_devices))

    @staticmethod
    def stop_multi_process_pool(pool: dict[str, Any]) -> None:
        """End the processes of a pool."""
        stop_pool(pool)

    def _encode_as(
        self, task: str, names: Sequence[str], texts: Texts | None, batch_size: int | str, **options: Any
    ) -> Any:
        given = one_of(texts=texts, inputs=options.pop("inputs", None), sentences=options.pop("sentences", None))
        if isinstance(batch_size, str):
            options["prompt_name"] = named_once(batch_size, options.get("prompt_name"))
            batch_size = BATCH_SIZE
        prompt, name = options.pop("prompt", None), options.pop("prompt_name", None)
        if prompt is None and name is None:
            name = next((name for name in names if name in self.prompts), None)
        return self.encode(inputs=given, batch_size=batch_size, prompt=prompt, prompt_name=name, task=task, **options)

    def _read(self, batch_size: int | str, **options: Any) -> Call:
        """The arguments of a call; warns, once, of a cut that the checkpoint was not trained for."""
        call = read_call(self, batch_size, **options)
        kept, trained = call.small.dimensions, self.model.matryoshka_dimensions
        if kept is not None and kept not in trained:
            listed = ", ".join(map(str, trained))
            says = f"says that it was trained for {listed}" if trained else "does not say for which"
            self._once.warn(
                "dimensions",
                f"dimensions is {kept}: right for a model that was trained for vectors of that length "
                f"(Matryoshka), and this checkpoint {says}. Measure it on your data.",
            )
        return call

    def _embedded(
        self, texts: Iterable[Input], call: Call, tell: Tell | None = None, **how: int
    ) -> Iterator[npt.NDArray[Any]]:
        return embedded(texts, call, self.reader(), self.runner(call), self.folded.get(call.prompt), tell, **how)

    def _vectors(self, texts: Sequence[Input], call: Call, first: int = 0) -> npt.NDArray[Any]:
        """The vectors of texts, the first of which is the caller's text `first`: what a process of a pool computes."""
        return joined(self._embedded(texts, call, first=first), len(texts), call.small)

    def _features(
        self, texts: Sequence[Input], call: Call, first: int = 0, tell: Tell | None = None
    ) -> list[dict[str, npt.NDArray[Any]]]:
        """Of each text its ids, their mask, the vectors of its tokens, and its vector."""
        rows, of_tokens = self._token_vectors(texts, call, first)
        if not rows:
            return []
        left_out, folded = self.tokenizer.left_out(call.prompt), self.folded.get(call.prompt)
        vectors = embed_rows(rows, names_of(texts, first), call, self.runner(call), left_out, folded, tell)
        return [
            {
                "input_ids": np.array(row, dtype=np.int64),
                "attention_mask": np.ones(len(row), dtype=np.int64),
                "token_embeddings": tokens,
                "sentence_embedding": vector,
            }
            for row, tokens, vector in zip(rows, of_tokens, vectors, strict=True)
        ]

    def _token_vectors(
        self, texts: Sequence[Input], call: Call, first: int = 0
    ) -> tuple[list[list[int]], list[npt.NDArray[np.float32]]]:
        """The ids of each text, and float32 [tokens, hidden] of each."""
        of_tokens = self.token_runner()
        rows = self.reader().rows(texts, call, first) if texts else []
        memory = self.memory if call.memory is None else call.memory
        found = of_tokens.of_rows(rows, names_of(texts, first), self.model.text, call.batch_size, memory)
        by_index = dict(found)
        return rows, [by_index[index] for index in range(len(rows))]

    def runner(self, call: Call | None = None) -> Runner:
        """What computes rows of ids, in batches of the caller's choice."""
        memory = self.memory if call is None or call.memory is None else call.memory
        label, text = f"{self.strategy} {self.dtype}", self.model.text
        return Runner(self.session, label, self.target, self.dim, text, self.output, self.run_memory, memory)

    def token_runner(self) -> TokenVectors:
        """What computes the vectors of each token of rows of ids.

        Raises:
            InputError: the artifact has no graph for it.
        """
        if self.tokens is None:
            raise InputError(
                "this artifact has no graph that gives the vectors of tokens. Export the model again, without "
                "--no-token-embeddings."
            )
        return self.tokens

    def reader(self, warn_of_cuts: Callable[[int, int, int], None] | None = None) -> Reader:
        """What reads texts as rows of ids; `warn_of_cuts`: told of texts that are cut, instead of a warning."""
        return Reader(self.tokenizer, self._warn_beyond, warn_of_cuts or self._warn_of_cuts)

    def _warn_beyond(self, length: int) -> None:
        """Warn, once, of a text of more tokens than were checked."""
        proven = self.validated_up_to
        if proven is not None and length > proven:
            self._once.warn(
                "beyond",
                f"a text has {length} tokens, and this artifact was validated up to {proven} of "
                f"{self.model.text.max_seq_length}: vectors of longer texts are unproven. Run `poolfold validate` with "
                "--validate-length, or export with it.",
            )

    def _warn_of_cuts(self, cut: int, of: int, most: int) -> None:
        """Warn, once, of texts of which a part is not read."""
        self._once.warn(
            "cut",
            f"{cut} of {of} texts have more than {most} tokens, and what follows them is not read. Split the texts; or "
            "pass truncate=True to be told no more, truncate=False to have an error instead. `token_counts` counts.",
        )

    def close(self) -> None:
        """Free the model; a later call raises InputError. Closing twice does nothing."""
        self.session.close()
        if self.tokens is not None:
            self.tokens.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _again(self) -> Callable[[], Encoder]:
        """What loads it again.

        Raises:
            TypeError: it was not made by `load`.
        """
        if self.again is None:
            raise TypeError("this Encoder was not made by poolfold.load, so it cannot be pickled; pass its directory.")
        return self.again

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, copy, and what hashes a pickle. No weights are in it.

        Raises:
            TypeError: it was not made by `load`.
        """
        changed = self._changed()
        return (self._again(), ()) if changed is None else (self._again(), (), changed)

    def __setstate__(self, changed: Any) -> None:
        """Have what was set before it was pickled."""
        self._set(changed)


def _require_output_value(output_value: object) -> None:
    if output_value not in (None, "token_embeddings"):
        raise InputError(
            f"output_value is {output_value!r}; expected 'sentence_embedding', 'token_embeddings' or None."
        )


def _as_tensors(features: Mapping[str, npt.NDArray[Any]], output_value: str | None) -> Any:
    """What sentence-transformers gives for a text where it gives more than its vector."""
    if output_value is not None:
        return tensors.to_tensor(features[output_value])
    return {name: tensors.to_tensor(values) for name, values in features.items()}
