"""The manifest: the contract between the exporter that writes an artifact and the loaders that read it.

record        what every record is
contents      the model, strategies, graphs, engines and files
reports       rows of parity and latency
artifact      the manifest, whole
sealed_json   a manifest as JSON that guards itself, and back
no_artifact   why a path is no artifact, and what was probably meant

Values only, and their exact JSON form. Nothing here looks at the other files of the artifact (`verify` does), and
nothing here knows torch, ONNX or any engine.
"""

from __future__ import annotations

from poolfold.manifest.artifact import Manifest
from poolfold.manifest.contents import (
    EMBEDDING,
    USUAL_RUN_MEMORY,
    Contents,
    Engine,
    File,
    FoldedPrompt,
    Graph,
    KeptLayers,
    Model,
    Output,
    PaddingFree,
    Portable,
    Precision,
    Profile,
    Prompted,
    Quantized,
    Range,
    RunMemory,
    Strategy,
    Text,
    TokenizerExample,
    TokenizerReading,
)
from poolfold.manifest.no_artifact import MANIFEST_NAME, listed, no_artifact, similar
from poolfold.manifest.reports import Executor, Latency, Parity, ParityCheck, WorstText
from poolfold.manifest.sealed_json import SCHEMA_VERSION, dumps, is_artifact, loads, read_manifest

__all__ = [
    "EMBEDDING",
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "USUAL_RUN_MEMORY",
    "Contents",
    "Engine",
    "Executor",
    "File",
    "FoldedPrompt",
    "Graph",
    "KeptLayers",
    "Latency",
    "Manifest",
    "Model",
    "Output",
    "PaddingFree",
    "Parity",
    "ParityCheck",
    "Portable",
    "Precision",
    "Profile",
    "Prompted",
    "Quantized",
    "Range",
    "RunMemory",
    "Strategy",
    "Text",
    "TokenizerExample",
    "TokenizerReading",
    "WorstText",
    "dumps",
    "is_artifact",
    "listed",
    "loads",
    "no_artifact",
    "read_manifest",
    "similar",
]
