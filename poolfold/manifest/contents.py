"""What an artifact holds: the model that it came from, its strategies, graphs, engines and files."""

from __future__ import annotations

import msgspec

from poolfold.manifest.record import Record


class Text(Record, frozen=True):
    """How a text becomes `input_ids`: all a tokeniser needs besides tokenizer.json.

    `max_seq_length` counts tokens, special tokens included; longer texts are truncated to it on `truncation_side`.
    `include_prompt`: whether the prompt's tokens are pooled. If not, `attention_mask` is 2 on them, 1 on the others.
    `lower_case` says that the checkpoint asked for lower-casing; tokenizer.json already does it.
    """

    max_seq_length: int
    padding_side: str
    truncation_side: str
    pad_token_id: int
    lower_case: bool
    prompts: dict[str, str]
    default_prompt_name: str | None
    include_prompt: bool = True


class TokenizerExample(Record, frozen=True):
    """A text and its ids, in full: by tokenizer.json as published, and by the transformers of that day."""

    text: str
    file: tuple[int, ...]
    transformers: tuple[int, ...]


class TokenizerReading(Record, frozen=True):
    """Whose ids the artifact has: `source` is `file`, tokenizer.json as published, or `transformers`.

    `texts` were read both ways, 0 where there was one way only; `differ` of them got other ids, such as `example`.
    """

    source: str
    texts: int
    differ: int
    example: TokenizerExample | None


class Model(Record, frozen=True):
    """What the checkpoint says it is.

    `source` is a hub id, or the bare name of a folder or an ONNX file; `source_sha256` hashes the contents of the files
    that were read there, None in artifacts of 0.2.0.
    `modules` lists what the graph computes, in order, for example transformer, pooling, dense, normalize, truncate.
    `dimensions` is what a cut keeps of a vector, None without one; `renormalized` says that a normalisation follows it.
    `trained_strategy` is None where the checkpoint does not say how it was trained.
    `vocab_size` counts the rows of the embedding table: ids lie in [0, vocab_size).
    `tokenizer` is None before 0.3, where the ids were those of transformers.
    `matryoshka_dimensions`: lengths of vectors that the checkpoint says it was trained for; empty where it says none.
    """

    source: str
    revision: str | None
    model_type: str
    hidden_size: int
    num_layers: int
    vocab_size: int
    trained_strategy: str | None
    modules: tuple[str, ...]
    dimensions: int | None
    similarity: str
    text: Text
    renormalized: bool = False
    source_sha256: str | None = None
    tokenizer: TokenizerReading | None = None
    matryoshka_dimensions: tuple[int, ...] = ()


class Strategy(Record, frozen=True):
    """A pooling strategy in the artifact: `name` is one mode, or modes joined by `+` whose vectors are concatenated.

    `ranges`: the file of what the values of its vectors lie between, float32 [3, dim]: lowest, highest, and the mean
    length of the first values; None before 0.7.
    """

    name: str
    trained: bool
    dim: int
    ranges: str | None = None


class Precision(Record, frozen=True):
    """Nodes that stay fp32 in an fp16 graph, and the named rule that keeps them so."""

    rule: str
    nodes: int
    why: str


class PaddingFree(Record, frozen=True):
    """The same graph computing real tokens only: same inputs, same vectors, same weights file.

    `faster_below`: target -> share of a batch's places that hold tokens, below which this was the faster graph when the
    model was exported. A target that is not there was not measured. `serves_all`: targets on whose CPU it runs every
    batch, and the plain graph is not opened: so much as fast on full ones that one copy of the weights is worth more.
    `status`: in ONNX Runtime, as a graph's.
    """

    path: str
    nodes: int
    faster_below: dict[str, float]
    serves_all: tuple[str, ...] = ()
    status: str = "built"


class Prompted(Record, frozen=True):
    """The form of a graph that starts behind a prompt; where it is, it runs every batch on a CPU."""

    path: str
    nodes: int
    status: str = "built"


class RunMemory(Record, frozen=True):
    """What a run of a graph takes besides the weights, in bytes: of each token, and of each pair of a query and a key.

    `score_bytes`: the scores of a layer, all heads together, where a runtime holds them at once, as ONNX Runtime does.
    `mask_bytes`: masks with a value for each pair. Beyond `whole_up_to` tokens, `slice` queries are computed at once;
    where it is 0, all of them are, whatever their number.
    """

    token_bytes: int
    score_bytes: int
    mask_bytes: int
    whole_up_to: int = 0
    slice: int = 0

    def bytes_of(self, rows: int, seq: int, behind: int = 0) -> int:
        """What a run of [rows, seq] takes, padding included; behind: tokens of a folded prompt."""
        queries = min(seq, self.slice) if self.slice and seq > self.whole_up_to else seq
        pairs = queries * (seq + behind)
        return rows * (seq * self.token_bytes + pairs * (self.score_bytes + self.mask_bytes))


USUAL_RUN_MEMORY = RunMemory(token_bytes=2**17, score_bytes=2**7, mask_bytes=2**4)
"""Of artifacts before 0.6, which do not tell: more than a model with 1024 hidden values and 16 heads takes."""


class Output(Record, frozen=True):
    """What a graph gives, and how its values are compared.

    `axes` and `dtype` describe the tensor. `metric` tells which values are alike. `refused` lists what never stands in
    it: `nan`, `infinity`, and `zero`, a row of zeros.
    """

    name: str
    axes: tuple[str, ...]
    dtype: str
    metric: str
    refused: tuple[str, ...]


EMBEDDING = Output(
    name="sentence_embedding",
    axes=("batch", "dim"),
    dtype="float32",
    metric="cosine",
    refused=("nan", "infinity", "zero"),
)
"""One vector a text: what every graph of this schema version gives."""


class KeptLayers(Record, frozen=True):
    """Linear layers that are not in 8 bits: how many of which shapes, and what share of all weights that is.

    `cosine`: the smallest of the texts that the graph was made by, with these in fp32.
    """

    layers: str
    share: float
    cosine: float


class Quantized(Record, frozen=True):
    """How a graph was put into int8 or fp8. `target`: the only one that runs it, or builds an engine of it.

    `floor`: the cosine that no text may fall below. `texts`: how many it was made by; none of them judged it. `layers`:
    linear layers in 8 bits. `kept`: those in fp32, or fp16 for engines; None where there are none. `cosine`: the
    smallest of these texts. `without`: the same with all layers in 8 bits.
    """

    target: str
    floor: float
    texts: int
    layers: int
    kept: KeptLayers | None
    cosine: float
    without: float


class Graph(Record, frozen=True):
    """An ONNX graph: `input_ids`, `attention_mask` int64 [batch, seq] -> `sentence_embedding` fp32 [batch, dim].

    `weights` is the external data file that graphs of one dtype share, relative to the artifact. `padding_free`,
    `packed` and `prompted` are further forms of it, None where it has none. `packed` is a graph for engines, with the
    places of the tokens as a further input, `token_positions` int64 [1, tokens]. `prompted` starts behind a folded
    prompt: its further input is `prompt_states`, of a `FoldedPrompt` or without any token. `passes` says what each
    optimisation did, or why it did nothing. `sliced`: path of a form -> that of the same form with the attention of
    long texts in slices of queries, which ONNX Runtime runs on a CPU instead. `run_memory`: of any form on a CPU; None
    before 0.6. `quantized`: None but in int8 and fp8.
    """

    path: str
    weights: str | None
    strategy: str
    dtype: str
    inputs: tuple[str, ...]
    output: str
    opset: int
    nodes: int
    attention_layers: int
    attention_ops: int
    kept_fp32: tuple[Precision, ...]
    padding_free: PaddingFree | None
    packed: str | None
    passes: dict[str, str]
    status: str
    prompted: Prompted | None = None
    run_memory: RunMemory | None = None
    sliced: dict[str, str] = msgspec.field(default_factory=dict)
    quantized: Quantized | None = None

    def runs_on(self, target: str) -> bool:
        """Whether a target runs the graph, or compiles it: each does but for those made for one alone."""
        return self.quantized is None or self.quantized.target == target

    @property
    def files(self) -> tuple[str, ...]:
        """The path of each form, and of each sliced one."""
        return (*self.forms.values(), *self.sliced.values())

    @property
    def forms(self) -> dict[str, str]:
        """Each form of the graph: `plain`, `padding-free`, `packed`, `prompted` -> its path."""
        forms = {"plain": self.path}
        if self.padding_free is not None:
            forms["padding-free"] = self.padding_free.path
        if self.packed is not None:
            forms["packed"] = self.packed
        if self.prompted is not None:
            forms["prompted"] = self.prompted.path
        return forms

    @property
    def status_on_cpu(self) -> str:
        """The status of what ONNX Runtime runs on a CPU."""
        if self.prompted is not None:
            return self.prompted.status
        free = self.padding_free
        return free.status if free is not None and "onnxruntime" in free.serves_all else self.status


class Portable(Record, frozen=True):
    """A graph for programs of other people, in operators that older runtimes have.

    `input_ids`, `attention_mask` -> `last_hidden_state` fp32 [batch, seq, hidden] and `sentence_embedding` fp32 [batch,
    dim] of a strategy. It computes every token, padding included, and holds every score: it is for texts of moderate
    length, and what `encode` takes the vectors of tokens from. `weights` may be the file of the fp32 graphs.
    """

    path: str
    weights: str | None
    strategy: str
    opset: int
    nodes: int
    status: str = "built"


class FoldedPrompt(Record, frozen=True):
    """A prompt whose keys and values are constants: the file `path`, float32 `shape`, which graphs take as an input.

    `shape` is [2 * attentions, heads, tokens, head]. `ids` are the tokens: a text whose ids, with the prompt in front,
    begin with others takes the whole run.
    """

    name: str
    text: str
    ids: tuple[int, ...]
    path: str
    shape: tuple[int, ...]


class Range(Record, frozen=True):
    """One dimension of an optimisation profile."""

    min: int
    opt: int
    max: int


class Profile(Record, frozen=True):
    """An optimisation profile: the shapes an engine accepts, and the one it is tuned for.

    `share`: of the texts that the profiles were made from, those that fall into this one; None where none were given.
    """

    batch: Range
    seq_len: Range
    share: float | None = None


class Contents(Record, frozen=True):
    """What the library says is inside an engine.

    `precisions`: layers by the precision of what they give, in the library's names. `fp32_kept`: fp32 layers that come
    from nodes that the graph keeps so. `device_memory`: bytes that a run needs besides the weights, by profile; empty
    where only a GPU could tell.
    """

    layers: int
    precisions: dict[str, int]
    fp32_kept: int
    device_memory: tuple[int, ...]


class Engine(Record, frozen=True):
    """An engine and what it needs. `status`: `built` (it never ran here) or `validated` (its vectors were checked).

    `form`: `plain`, or `packed` where it takes `token_positions` and computes real tokens only. The library must have
    exactly `library_version`, or its major number where the engine is `version_compatible`. `hardware_compatibility`:
    `none` (GPUs of `compute_capabilities` alone), `same_compute_capability` or `ampere_plus`. `stripped`: its weights
    are left out, and are refitted from `graph` when it is loaded. `contents`: None where nothing was built.
    """

    path: str
    target: str
    strategy: str
    dtype: str
    status: str
    graph: str
    form: str
    library: str
    library_version: str
    compute_capabilities: tuple[str, ...]
    version_compatible: bool
    hardware_compatibility: str
    stripped: bool
    profiles: tuple[Profile, ...]
    contents: Contents | None
    attention_layers: int
    attention_fused: int
    build_seconds: float
    warnings: tuple[str, ...]


class File(Record, frozen=True):
    """A file of the artifact; `path` is relative, with forward slashes."""

    path: str
    bytes: int
    sha256: str
