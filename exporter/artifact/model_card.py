"""README.md of an artifact, for people, who may edit it: what it is, what was checked, how each program loads it."""

from __future__ import annotations

import json
from pathlib import Path

from exporter.artifact.layout import MODEL_CARD
from poolfold.manifest import Manifest, Portable


def write_model_card(directory: Path, manifest: Manifest, name: str) -> None:
    """Write DIR/README.md, which the manifest does not list.

    name: of the artifact, as the snippets call it.
    """
    (directory / MODEL_CARD).write_text("\n".join(_lines(manifest, name)) + "\n", encoding="utf-8")


def _lines(manifest: Manifest, name: str) -> list[str]:
    model = manifest.model
    base = [f"base_model: {json.dumps(model.source)}"] if model.revision is not None and "/" in model.source else []
    told = (
        f"{model.source} ({model.model_type}, {model.num_layers} layers), exported by poolfold "
        f"{manifest.poolfold_version}: graphs of the whole model, pooling and what follows it folded in. Texts are "
        f"read up to {model.text.max_seq_length} tokens; vectors are compared by {model.similarity}."
    )
    head = [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "tags: [sentence-transformers, sentence-similarity, feature-extraction, onnx, poolfold]",
        *base,
        "---",
        f"# {name}",
        "",
        told,
    ]
    return [*head, *_checked(manifest), *_timed(manifest), *_prompts(manifest), *_how(manifest, name)]


def _checked(manifest: Manifest) -> list[str]:
    if not manifest.parity:
        return []
    rows = [
        f"| {row.strategy} | {row.dtype} | {row.executor} | 1 - {1 - row.checks['cosine'].value:.1e} | {row.texts} |"
        for row in manifest.parity
    ]
    proven, limit = manifest.validated_up_to, manifest.model.text.max_seq_length
    up_to = "" if proven is None or proven >= limit else f" on texts of up to {proven} tokens,"
    return [
        "",
        "## Checked",
        "",
        f"Against {manifest.parity[0].reference},{up_to} the smallest cosine of any text.",
        "",
        "| strategy | precision | runs in | cosine at least | texts |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]


def _timed(manifest: Manifest) -> list[str]:
    rows = [
        f"| {row.strategy} | {row.dtype} | {row.runtime} | {row.workload} | {row.median_ms:.3g} | {row.speedup:.2f}x |"
        for row in manifest.latency
        if not row.disturbed
    ]
    if not rows:
        return []
    return [
        "",
        "## Timed",
        "",
        "Rows x tokens, on the machine that made it; the ratio is over the original model in the same run.",
        "What other programs disturbed is left out.",
        "",
        "| strategy | precision | runs in | batch | ms | faster |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]


def _prompts(manifest: Manifest) -> list[str]:
    named = {name: text for name, text in manifest.text.prompts.items() if text}
    return ["", "## Prompts", "", *(f"- `{name}`: {json.dumps(text)}" for name, text in named.items())] if named else []


def _how(manifest: Manifest, name: str) -> list[str]:
    lines = [
        "",
        "## Use it",
        "",
        "```python",
        "import poolfold",
        "",
        f"with poolfold.load({json.dumps(name)}) as encoder:",
        '    vectors = encoder.encode(["one text", "another"])',
        "```",
    ]
    # Others read a static model from its own folder, in their own ways.
    return (
        lines
        if manifest.portable is None or "transformer" not in manifest.model.modules
        else [*lines, *_others(manifest.portable, name)]
    )


def _others(graph: Portable, name: str) -> list[str]:
    return [
        "",
        f"Other programs load `{graph.path}` ({graph.strategy}, fp32; `last_hidden_state` and `sentence_embedding`):",
        "",
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer({json.dumps(name)}, backend="onnx")',
        '# or in OpenVINO: backend="openvino", model_kwargs={"file_name": "onnx/model.onnx", "export": False}',
        "```",
        "",
        "```python",
        "from optimum.onnxruntime import ORTModelForFeatureExtraction",
        "",
        f'model = ORTModelForFeatureExtraction.from_pretrained({json.dumps(name)}, subfolder="onnx")',
        "```",
        "",
        "```javascript",
        'import { pipeline } from "@huggingface/transformers";',
        "",
        'const options = { dtype: "fp32", use_external_data_format: true };',
        f'const extract = await pipeline("feature-extraction", {json.dumps(name)}, options);',
        "```",
    ]
