"""Deliberate faults: each is one mistake in the source that some test must notice. `tests/faults.py` runs them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A mistake and the tests that must fail because of it.

    file: the source file, relative to the repository.
    before: text that occurs exactly once in it; after: what replaces it.
    tests: folders, files or single tests, separated by spaces.
    """

    name: str
    file: str
    before: str
    after: str
    tests: str


_POOLING = "tests/graphs/pooling/test_fold_pooling.py"
_RMS_NORM = "tests/graphs/encoder/test_rms_norm.py"
_HEAD = "tests/graphs/pooling/test_fold_head.py"
_PUSH_DOWN = "tests/graphs/last_layer"
_MASK = "tests/graphs/mask"
_UNPADDING = "tests/graphs/unpadding"
_FP16 = "tests/graphs/precision"
_WEIGHTS = "tests/graphs/files/test_weights.py"
_ENCODER = "tests/poolfold/test_encoder.py"
_VERIFY = "tests/poolfold/test_verify.py tests/poolfold/test_manifest.py"
_TOKENISE = "tests/poolfold/test_tokenise.py"
_PARITY = "tests/exporter/parity"
_PROVEN = "tests/exporter/pipeline/test_validated_length.py"
_PUBLISH = "tests/exporter/artifact/test_publish.py"
_MEASURE = "tests/exporter/measure/test_interleave.py"
_IDS = "tests/exporter/model/checkpoint/test_published_tokenizer.py"
_PROMPT = "tests/graphs/prompt/test_behind_prompt.py::test_what_may_not_differ_shows"
_FOLDED = "tests/poolfold/sessions/test_behind_prompt.py"
_SLICES = "tests/graphs/attention/test_sliced_attention.py"
_BLOCKS = "tests/graphs/attention/test_blocked_windows.py"
_SMALL = "tests/poolfold/test_small_vectors.py"
_RESAMPLING = "tests/exporter/comparison/test_resampling.py"

FAULTS = (
    # The pooling and the head.
    Fault(
        "pooling over the batch axis",
        "graphs/pooling/fold_pooling.py",
        "return self.stage.axes(1)",
        "return self.stage.axes(0)",
        _POOLING,
    ),
    Fault(
        "mean includes padding",
        "graphs/pooling/fold_pooling.py",
        'return self.stage.op("Where", self.is_token_3d, self.hidden, self.zero)',
        "return self.hidden",
        _POOLING,
    ),
    Fault(
        "mean divides by the sequence length",
        "graphs/pooling/fold_pooling.py",
        'return op("Div", self.total, self.count)',
        'return op("Div", self.total, op("Cast", self.seq, to=ir.DataType.FLOAT))',
        _POOLING,
    ),
    Fault(
        "max includes padding",
        "graphs/pooling/fold_pooling.py",
        'op("Where", self.is_token_3d, self.hidden, lowest)',
        "self.hidden",
        _POOLING,
    ),
    Fault(
        "weightedmean counts from the first position",
        "graphs/pooling/fold_pooling.py",
        'places = op("Sub", self.positions, self.first_present, dtype=_INDEX)',
        "places = self.positions",
        _POOLING,
    ),
    Fault(
        "the prompt is pooled though it is to be left out",
        "graphs/pooling/fold_pooling.py",
        "if not self.prompt_apart:",
        "if True:",
        _POOLING,
    ),
    Fault(
        "lasttoken takes the first token",
        "graphs/pooling/fold_pooling.py",
        'op("ReduceMax", shown, self.axis, dtype=_INDEX)',
        'op("ReduceMin", shown, self.axis, dtype=_INDEX)',
        _POOLING,
    ),
    Fault(
        "cls takes position 0",
        "graphs/pooling/fold_pooling.py",
        "return self._row_at(self.first)",
        'return self._row_at(op("Sub", self.first, self.first, dtype=_INDEX))',
        _POOLING,
    ),
    Fault(
        "modes concatenated in reverse",
        "graphs/pooling/fold_pooling.py",
        "for mode in self.strategy]",
        "for mode in self.strategy[::-1]]",
        _POOLING,
    ),
    Fault(
        "a norm's epsilon lost",
        "graphs/encoder/rms_norm.py",
        '"epsilon": norm.epsilon,',
        "",
        _RMS_NORM,
    ),
    Fault(
        "RMSNorm taken for one with weight 1 + w",
        "graphs/encoder/rms_norm.py",
        "scale = _one_constant(graph, norm.scale)",
        "scale = norm.scale and constant(graph, f'{norm.scale.name}.plus', array_of(norm.scale) + np.float32(1))",
        _RMS_NORM,
    ),
    Fault(
        "rotary table of another theta",
        "exporter/model/checkpoint/rope.py",
        '_KEPT = ("rope_theta", ',
        "_KEPT = (",
        "tests/exporter/model/checkpoint/test_rope.py",
    ),
    Fault(
        "experts weighted alike",
        "exporter/model/experts.py",
        "(chosen * top_k_weights.unsqueeze(-1)).sum(dim=1)",
        "chosen.sum(dim=1).float()",
        "tests/exporter/model/test_experts.py",
    ),
    Fault(
        "norm over the batch axis",
        "graphs/pooling/fold_head.py",
        'stage.op("ReduceL2", vector, stage.axes(-1))',
        'stage.op("ReduceL2", vector, stage.axes(0))',
        _HEAD,
    ),
    Fault(
        "norm without epsilon",
        "graphs/pooling/fold_head.py",
        'stage.op("Max", norm, stage.constant("smallest_norm", 1e-12))',
        "norm",
        _HEAD,
    ),
    Fault(
        "dense bias dropped",
        "graphs/pooling/fold_head.py",
        'inputs.append(stage.constant(f"{index}.bias", dense.bias))',
        "pass",
        _HEAD,
    ),
    Fault(
        "truncation before normalisation",
        "graphs/pooling/fold_head.py",
        "enumerate(zip(self.head,",
        "enumerate(zip(sorted(self.head, key=lambda module: not isinstance(module, Truncate)),",
        _HEAD,
    ),
    # The last layer for one row.
    Fault(
        "row picker off by one",
        "graphs/last_layer/row_picker.py",
        "self._index = index",
        'self._index = stage.op("Sub", index, stage.axes(1), dtype=ir.DataType.INT64, shape=index.shape)',
        _PUSH_DOWN,
    ),
    Fault(
        "stale shape of a moved node",
        "graphs/last_layer/push_down_row.py",
        "made.shape = ir.Shape(one_row(dims, axis))",
        "made.shape = ir.Shape(dims)",
        _PUSH_DOWN,
    ),
    Fault(
        "scale of an attention ignored",
        "graphs/last_layer/row_attention.py",
        'scale = _number(node, "scale") or size**-0.5',
        "scale = size**-0.5",
        _PUSH_DOWN,
    ),
    # Masks.
    Fault(
        "mask inverted",
        "graphs/ir/masks.py",
        'op("Where", allowed, zero, hidden',
        'op("Where", allowed, hidden, zero',
        _MASK,
    ),
    Fault(
        "window one position too wide",
        "graphs/ir/masks.py",
        'constant(f"behind_{form.behind}", form.behind, np.int64)',
        'constant(f"behind_{form.behind}", form.behind + 1, np.int64)',
        _MASK,
    ),
    Fault(
        "polarity of a Where ignored",
        "graphs/mask/mask_program.py",
        "return ~allowed if self._inverted else allowed",
        "return allowed",
        _MASK,
    ),
    # Padding-free compute.
    Fault(
        "packed token off by one",
        "graphs/unpadding/padding_free.py",
        'flat = op("Sub", until, constant("one", 1, np.int64), dtype=_INT64)',
        'flat = op("Sub", until, constant("one", 2, np.int64), dtype=_INT64)',
        _UNPADDING,
    ),
    Fault(
        "text of a token by the wrong quotient",
        "graphs/unpadding/padding_free.py",
        'self._stage.op("Div", self.positions, self._seq',
        'self._stage.op("Mod", self.positions, self._seq',
        _UNPADDING,
    ),
    Fault(
        "unmasked attention called safe",
        "graphs/unpadding/token_mixing.py",
        "return axis == 2 and len(node.inputs) > 3 and node.inputs[3] in mask",
        "return axis == 2",
        _UNPADDING,
    ),
    Fault(
        "token_positions off by one",
        "poolfold/sessions/packing.py",
        "np.flatnonzero(is_token)",
        "(np.flatnonzero(is_token) + 1)",
        "tests/poolfold/sessions/test_packing.py",
    ),
    # fp16.
    Fault(
        "pooling computed in fp16",
        "graphs/precision/float16_rules.py",
        "RULES = (POOLING, POSITION,",
        "RULES = (POSITION,",
        _FP16,
    ),
    Fault(
        "measured ranges ignored",
        "graphs/precision/float16_rules.py",
        "TINY_CONSTANT, MEASURED_RANGE, OPERATOR)",
        "TINY_CONSTANT, OPERATOR)",
        _FP16,
    ),
    Fault(
        "mask constant not clamped",
        "graphs/precision/float16_rules.py",
        "yield Clamp(constant, MASK_LIMIT)",
        'yield Clamp(constant, float("inf"))',
        _FP16,
    ),
    Fault(
        "rehearsal does not round",
        "graphs/precision/rehearsal.py",
        "    if moved_inputs(node):\n        return output",
        "    if node:\n        return output",
        _FP16,
    ),
    # The encoder and its weights.
    Fault(
        "weights that begin and end alike shared",
        "graphs/files/weights.py",
        "next((other for other in alike if _same(_bytes(other), data)), None)",
        "next(iter(alike), None)",
        _WEIGHTS,
    ),
    Fault(
        "weights of two layers swapped",
        "graphs/files/weights.py",
        "offsets[id(tensor)],\n",
        "sorted(offsets.values())[-1 - sorted(offsets.values()).index(offsets[id(tensor)])],\n",
        _WEIGHTS,
    ),
    Fault(
        "look-up takes row 0",
        "graphs/encoder/uniform_lookups.py",
        "np.ascontiguousarray(rows[index])",
        "np.ascontiguousarray(rows[0])",
        "tests/graphs/encoder/test_uniform_lookups.py",
    ),
    Fault(
        "constant row subtracted",
        "graphs/encoder/embedding_sums.py",
        "np.add(table",
        "np.subtract(table",
        "tests/graphs/encoder/test_embedding_sums.py",
    ),
    # Loading and embedding.
    Fault(
        "prompt behind the text",
        "poolfold/tokenise/tokenizer.py",
        "prompt + text for text",
        "text + prompt for text",
        f"{_TOKENISE} {_ENCODER}",
    ),
    Fault(
        "truncated one token early",
        "poolfold/tokenise/tokenizer.py",
        "enable_truncation(text.max_seq_length,",
        "enable_truncation(text.max_seq_length - 1,",
        _TOKENISE,
    ),
    Fault(
        "truncated on the wrong side",
        "poolfold/tokenise/tokenizer.py",
        "direction=text.truncation_side",
        'direction="right"',
        _TOKENISE,
    ),
    Fault(
        "padded on the wrong side",
        "poolfold/tokenise/tokenizer.py",
        'if side == "left" else',
        'if side != "left" else',
        _TOKENISE,
    ),
    Fault(
        "rows left in order of length",
        "poolfold/encoder/encoder.py",
        "vectors[[first + index for index in batch]] =",
        "vectors[done : done + len(batch)] =",
        _ENCODER,
    ),
    Fault(
        "a batch beyond the memory",
        "poolfold/tokenise/batches.py",
        "min(budget.rows(seq, behind), max(1, TOKENS // seq))",
        "max(1, TOKENS // seq)",
        "tests/poolfold/test_batches.py",
    ),
    Fault(
        "rows that fit alone fail in company",
        "poolfold/sessions/memory.py",
        "if stop - start == 1:",
        "if stop:",
        "tests/poolfold/sessions/test_memory.py",
    ),
    Fault(
        "what a run left unwritten taken for vectors",
        "poolfold/sessions/openvino.py",
        "if (vectors.view(np.uint32) == _UNWRITTEN.view(np.uint32)).any():",
        "if vectors is None:",
        "tests/poolfold/sessions/test_memory.py",
    ),
    Fault(
        "NaN returned",
        "poolfold/sessions/outputs.py",
        "lambda rows: _any(np.isnan(rows))",
        "lambda rows: _any(np.zeros_like(rows, dtype=np.bool_))",
        _ENCODER,
    ),
    Fault(
        "zero vector returned",
        "poolfold/sessions/outputs.py",
        "lambda rows: ~_any(rows != 0)",
        "lambda rows: _any(np.zeros_like(rows, dtype=np.bool_))",
        _ENCODER,
    ),
    Fault(
        "hash not checked",
        "poolfold/verify/__init__.py",
        "if sha256 != entry.sha256:",
        "if not sha256:",
        _VERIFY,
    ),
    Fault(
        "unlisted graph accepted",
        "poolfold/verify/__init__.py",
        "for name in others.mistakable",
        "for name in ()",
        _VERIFY,
    ),
    Fault(
        "path that leaves the artifact accepted",
        "poolfold/verify/__init__.py",
        'and ".." not in plain.parts',
        "and plain.parts",
        _VERIFY,
    ),
    Fault(
        "a file opened again after its check",
        "poolfold/load.py",
        "    return files[relative]",
        "    return open_file(path)",
        "tests/poolfold/test_where_artifacts_lie.py",
    ),
    Fault(
        "weights written under an encoder not noticed",
        "poolfold/verify/files.py",
        "if (now.st_size, now.st_mtime_ns) != (self.size, self._modified) or (",
        "if (",
        "tests/poolfold/test_where_artifacts_lie.py",
    ),
    Fault(
        "seal of the manifest not checked",
        "poolfold/manifest/sealed_json.py",
        ".hexdigest().encode() != seal.group(1)",
        '.hexdigest().encode() == b""',
        _VERIFY,
    ),
    Fault(
        "closed session runs",
        "poolfold/sessions/ort.py",
        "self._open = None",
        "pass",
        "tests/poolfold/sessions/test_ort.py tests/poolfold/test_encoder.py",
    ),
    Fault(
        "one request for two threads",
        "poolfold/sessions/openvino.py",
        "request = idle.pop()",
        "request = idle[-1]",
        "tests/poolfold/sessions/test_openvino.py",
    ),
    Fault(
        "more lanes than allowed",
        "poolfold/sessions/tensorrt/lanes.py",
        "self._made < self._most",
        "self._made >= 0",
        "tests/poolfold/sessions/tensorrt/test_lanes.py",
    ),
    Fault(
        "profile's longest row ignored",
        "poolfold/sessions/profiles.py",
        "if seq <= profile.seq_len.max",
        "if seq",
        "tests/poolfold/sessions/test_profiles.py",
    ),
    Fault(
        "padding-free form for full batches",
        "poolfold/sessions/by_padding.py",
        "if share >= self._faster_below",
        "if share < self._faster_below",
        "tests/poolfold/sessions/test_by_padding.py",
    ),
    Fault(
        "the wrong form opened where one serves all",
        "poolfold/choice.py",
        "return target.tokens_only_form if serves else None",
        'return "plain" if serves else None',
        "tests/poolfold/test_load.py",
    ),
    Fault(
        "two forms opened where one serves all",
        "poolfold/choice.py",
        "serves = graph.padding_free is not None and target.name in graph.padding_free.serves_all",
        "serves = False",
        "tests/poolfold/test_load.py",
    ),
    Fault(
        "bfloat16 handed over as integers",
        "poolfold/sessions/ort.py",
        "ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, tensor.dtype)",
        "ort.OrtValue.ortvalue_from_numpy(array)",
        "tests/poolfold/sessions/test_ort.py",
    ),
    Fault(
        "bf16 rounded",
        "graphs/precision/half_storage.py",
        "return not (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF).any()",
        "return True",
        "tests/graphs/precision/test_half_storage.py",
    ),
    Fault(
        "bf16 widened twice",
        "graphs/precision/half_storage.py",
        "if value.uses():",
        "if True:",
        "tests/graphs/precision/test_half_storage.py",
    ),
    Fault(
        "a table widened before its Gather",
        "graphs/precision/half_storage.py",
        "and index == 0",
        "and index == 1",
        "tests/graphs/precision/test_half_storage.py",
    ),
    Fault(
        "only the first piece of a weight looked at",
        "graphs/precision/half_storage.py",
        "for start in range(0, values.size, _PIECE)",
        "for start in (0,)",
        "tests/graphs/precision/test_half_storage.py",
    ),
    Fault(
        "a form accepted for its fastest batch",
        "exporter/measure/one_form.py",
        "max(self.ratios.values()) <= MOST_RATIO",
        "min(self.ratios.values()) <= MOST_RATIO",
        "tests/exporter/measure/test_one_form.py",
    ),
    Fault(
        "exit code of a failed check",
        "poolfold/errors.py",
        "exit_code = 1\n",
        "exit_code = 2\n",
        "tests/exporter/commands/test_cli.py::test_an_error_of_ours_is_its_message_and_its_code",
    ),
    # Validation.
    Fault(
        "the truncation of proven rows obeys the model's limit",
        "exporter/parity/tokens.py",
        "text = msgspec.structs.replace(spec.text, max_seq_length=length)",
        "text = spec.text",
        _PROVEN,
    ),
    Fault(
        "the ladder skips the window's switch",
        "exporter/parity/ladder.py",
        "return max(sure[-1], switch) if switch in lengths and fits(switch) else sure[-1]",
        "return sure[-1]",
        f"{_PARITY}/test_ladder.py {_PARITY}/test_proof.py",
    ),
    Fault(
        "a rung is proven though it took longer than the seconds",
        "exporter/parity/ladder.py",
        "        run(length)\n        if not affords(length):\n            break\n",
        "        run(length)\n",
        f"{_PARITY}/test_ladder.py",
    ),
    Fault(
        "many long rows in one batch",
        "exporter/parity/tokens.py",
        "padded * length > MOST_PAIRS",
        "padded > length * MOST_PAIRS",
        f"{_PARITY}/test_proof.py",
    ),
    Fault(
        "a text beyond what was checked warns nobody",
        "poolfold/load.py",
        "validated_up_to=manifest.validated_up_to",
        "validated_up_to=None",
        "tests/poolfold/test_unproven_length.py",
    ),
    Fault(
        "cosine averaged over rows",
        "exporter/parity/report.py",
        "value >= limit",
        "sum(values) / len(values) >= limit",
        _PARITY,
    ),
    Fault(
        "parity limit too loose",
        "exporter/parity/compare.py",
        "FP32: Limits(cosine=1 - 1e-6",
        "FP32: Limits(cosine=1 - 1e-3",
        _PARITY,
    ),
    Fault(
        "padding on the other side not judged",
        "exporter/parity/checks.py",
        "run.other_side, other, limits.cosine, texts",
        "run.other_side, other, -1.0, texts",
        _PARITY,
    ),
    Fault(
        "engine called validated though it never ran",
        "exporter/parity/validation.py",
        'return "validated" if checked else before',
        'return "validated" or before',
        _PARITY,
    ),
    # Publishing.
    Fault(
        "published before validation has passed",
        "exporter/artifact/publish.py",
        "            yield place\n",
        "            try:\n                yield place\n            except BaseException:\n"
        "                _swap(place.directory, destination)\n                raise\n",
        _PUBLISH,
    ),
    Fault("force not asked for", "exporter/artifact/publish.py", "if not force:", "if kind is None:", _PUBLISH),
    Fault(
        "running export swept away",
        "exporter/artifact/publish.py",
        "    fcntl.flock(lock, fcntl.LOCK_EX)\n",
        "",
        _PUBLISH,
    ),
    # The tokenizer's ids.
    Fault(
        "readings of a tokenizer never differ",
        "exporter/model/checkpoint/tokenizer_readings.py",
        "for text, file, library in pairs if file != library]",
        "for text, file, library in pairs if file is library]",
        _IDS,
    ),
    Fault(
        "the library's ids where the file's count",
        "exporter/model/checkpoint/tokenizer_readings.py",
        "if self.source is TokenizerSource.FILE and self.file is not None:",
        "if self.library is None and self.file is not None:",
        _IDS,
    ),
    Fault(
        "add_eos_token ignored",
        "exporter/model/checkpoint/published_tokenizer.py",
        'config.fields.keys() & {"add_bos_token", "add_eos_token"}',
        'config.fields.keys() & {"add_bos_token"}',
        _IDS,
    ),
    Fault(
        "the artifact's ids taken on trust",
        "exporter/model/checkpoint/tokenizer.py",
        "        if want != got:\n",
        "        if want[:1] != got[:1]:\n",
        _IDS,
    ),
    Fault(
        "another limit than the artifact's",
        "exporter/artifact/tokenizer_config.py",
        '"model_max_length": spec.text.max_seq_length}',
        '"model_max_length": spec.text.max_seq_length + 1}',
        "tests/exporter/artifact/test_tokenizer_config.py",
    ),
    # Measuring and comparing.
    Fault(
        "quartiles swapped",
        "exporter/measure/quartiles.py",
        "return Quartiles(q1, median, q3)",
        "return Quartiles(q3, median, q1)",
        _MEASURE,
    ),
    Fault(
        "speedup inverted",
        "exporter/measure/report.py",
        "against[number] / windows[number] for",
        "windows[number] / against[number] for",
        _MEASURE,
    ),
    Fault(
        "a disturbed round counts",
        "exporter/measure/disturbance.py",
        "if share <= LIMIT]",
        "if share <= 1]",
        "tests/exporter/measure/test_disturbance.py",
    ),
    Fault(
        "share of tokens on the wrong side of a half",
        "exporter/measure/padding_benefit.py",
        "0.5 + (plain - half)",
        "0.5 - (plain - half)",
        "tests/exporter/measure/test_padding_benefit.py",
    ),
    Fault(
        "bootstrap unpaired",
        "exporter/comparison/resampling.py",
        "np.random.default_rng(_SEED)",
        "np.random.default_rng()",
        _RESAMPLING,
    ),
    Fault(
        "each pair of strategies has 5 % of its own",
        "exporter/comparison/resampling.py",
        "_ALPHA / 2 / pairs",
        "_ALPHA / 2",
        _RESAMPLING,
    ),
    Fault(
        "what was not seen does not count",
        "exporter/comparison/resampling.py",
        "_UNSEEN = 4",
        "_UNSEEN = 0",
        _RESAMPLING,
    ),
    # A folded prompt.
    Fault(
        "a text starts at position 0 behind its prompt",
        "graphs/prompt/behind_prompt.py",
        '"Slice", value, length, end',
        '"Slice", value, stage.axes(0), end',
        _PROMPT,
    ),
    Fault(
        "keys of another prompt",
        "poolfold/sessions/behind_prompt.py",
        "_states(directory / prompt.path, prompt, open_file)",
        "_states(directory / manifest.folded_prompts[-1].path, manifest.folded_prompts[-1], open_file)",
        _FOLDED,
    ),
    Fault(
        "padding between prompt and text",
        "poolfold/encoder/parts.py",
        '"right", count, folded.run)',
        "padding_side, count, folded.run)",
        _FOLDED,
    ),
    Fault(
        "a row that begins with other ids is folded",
        "poolfold/sessions/behind_prompt.py",
        "len(row) > count and tuple(row[:count]) == self.ids",
        "len(row) > count",
        _FOLDED,
    ),
    # Attention in slices.
    Fault(
        "a slice sees one key less behind it",
        "graphs/attention/sliced_queries.py",
        "axes(form.behind)",
        "axes(form.behind - 1)",
        _SLICES,
    ),
    Fault(
        "a slice sees one key less ahead",
        "graphs/attention/sliced_queries.py",
        'reach = op("Add", end, axes(form.ahead)',
        'reach = op("Add", end, axes(form.ahead - 1)',
        _SLICES,
    ),
    Fault(
        "the last slice ends one query early",
        "graphs/attention/sliced_queries.py",
        "stage.axes(size - 1)",
        "stage.axes(size - 2)",
        _SLICES,
    ),
    Fault(
        "padding inside a slice is seen",
        "graphs/attention/sliced_queries.py",
        "allowed = self._cut(body, self._tokens, first, last, 3)",
        "allowed = self._cut(body, self._tokens, first, last, 3)\n"
        '        allowed = op("Or", allowed, op("Not", allowed, dtype=_BOOL), dtype=_BOOL, shape=allowed.shape)',
        _SLICES,
    ),
    Fault(
        "a slice's queries count from the slice's beginning",
        "graphs/attention/sliced_queries.py",
        "queries = self._cut(body, self._positions, start, end, 0, ir.Shape([None]))",
        'queries = self._cut(body, self._positions, axes(0), op("Sub", end, start, dtype=_INT64), 0, ir.Shape([None]))',
        _SLICES,
    ),
    Fault(
        "behind a prompt a slice forgets the prompt",
        "graphs/attention/sliced_queries.py",
        'start, end = (op("Add", x, self._first',
        'start, end = (op("Sub", x, axes(0)',
        _SLICES,
    ),
    Fault(
        "a slice has the scale of another attention",
        "graphs/attention/attentions.py",
        "producer.attributes.update(node.attributes)",
        "producer.attributes.update({})",
        _SLICES,
    ),
    Fault(
        "long texts hold the mask of all pairs",
        "graphs/attention/sliced_attention.py",
        'dense[value] = _only_if_short(stage, long, value, f"{_STAGE}.mask_{len(dense)}")',
        "dense[value] = value",
        f"{_SLICES}::test_no_value_has_two_axes_of_the_length",
    ),
    Fault(
        "short texts take the slices",
        "graphs/attention/sliced_attention.py",
        'stage.op("Greater", seq,',
        'stage.op("LessOrEqual", seq,',
        f"{_SLICES}::test_no_value_has_two_axes_of_the_length",
    ),
    # Windows in blocks.
    Fault(
        "a block sees one key less behind it",
        "graphs/attention/blocked_windows.py",
        "before = self._where(short, first, axes(form.behind))",
        "before = self._where(short, first, axes(form.behind - 1))",
        _BLOCKS,
    ),
    Fault(
        "a block sees one key less ahead",
        "graphs/attention/blocked_windows.py",
        "self._add(self._length, axes(reach))",
        "self._add(self._length, axes(reach - 1))",
        _BLOCKS,
    ),
    Fault(
        "blocks lack the last query",
        "graphs/attention/blocked_windows.py",
        'more = op("Sub", self._add(one, by), self._stage.axes(1)',
        'more = op("Sub", self._add(one, by), self._stage.axes(2)',
        _BLOCKS,
    ),
    Fault(
        "a block's padding is seen",
        "graphs/attention/blocked_windows.py",
        'tokens = op("And", tokens, there,',
        'tokens = op("Or", tokens, there,',
        _BLOCKS,
    ),
    Fault(
        "a block sees the first key in place of those before the text",
        "graphs/attention/blocked_windows.py",
        'op("GreaterOrEqual", places, axes(0), dtype=_BOOL, shape=_PAIRS)',
        'op("GreaterOrEqual", places, axes(-1000), dtype=_BOOL, shape=_PAIRS)',
        _BLOCKS,
    ),
    Fault(
        "behind a prompt blocks start at the prompt",
        "graphs/attention/blocked_windows.py",
        'op("Add", starts, first, dtype',
        'op("Sub", starts, axes(0), dtype',
        _BLOCKS,
    ),
    # Small vectors.
    Fault(
        "a step is rounded to the nearest",
        "poolfold/encoder/small_vectors.py",
        "np.floor((cut - lowest)",
        "np.round((cut - lowest)",
        _SMALL,
    ),
    Fault(
        "zero counts as positive",
        "poolfold/encoder/small_vectors.py",
        "np.packbits(cut > 0, axis=-1)",
        "np.packbits(cut >= 0, axis=-1)",
        _SMALL,
    ),
    Fault(
        "values beyond the ranges wrap",
        "poolfold/encoder/small_vectors.py",
        "np.where(step == 0, np.float32(1), step)), 0, _STEPS",
        "np.where(step == 0, np.float32(1), step)), -1e9, 1e9",
        _SMALL,
    ),
    Fault(
        "what is kept of a unit vector stays short",
        "poolfold/encoder/small_vectors.py",
        "unit = shorter and normalized",
        "unit = False",
        _SMALL,
    ),
    Fault(
        "ranges are those of the whole vector where it is cut",
        "poolfold/encoder/small_vectors.py",
        "return ranges / length if unit",
        "return ranges if unit",
        _SMALL,
    ),
    Fault(
        "a cut that leaves zeros is returned",
        "poolfold/encoder/encoder.py",
        "if small.dimensions is not None:",
        "if False:",
        _SMALL,
    ),
    Fault(
        "the best documents are not ranked above the others",
        "exporter/comparison/small_index.py",
        "anew + 4, axis=1",
        "anew - 4, axis=1",
        "tests/exporter/comparison/test_small_index.py",
    ),
    Fault(
        "OpenVINO runs the graph with slices",
        "poolfold/choice.py",
        "if record.runs is Runs.GRAPH and provider == CPU",
        "if provider == CPU",
        "tests/poolfold/test_choice.py",
    ),
)
