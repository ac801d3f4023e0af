"""`python -m tests.poolfold.sessions.little_memory DIR TARGET THREADS`: embed where the process may take 300 MiB more.

The graph asks for [batch, seq, seq] floats at once, as ONNX Runtime's attention does for each head. Prints what came of
it, as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from poolfold import Encoder, OutOfMemory
from poolfold.manifest import RunMemory
from poolfold.sessions import Session
from poolfold.sessions.openvino import OpenVinoSession
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.tokenise import Tokenizer
from tests.artifacts import DIM, WORDS, model_values, text_values, tokenizer_json
from tests.graphs.build import FLOAT, INT64, GraphBuilder

LIMIT = 16_000
MORE = 300 * 2**20
PAIRS = RunMemory(token_bytes=0, score_bytes=4, mask_bytes=0)


def write_pairs(path: Path) -> None:
    """Ids -> their sum times the largest of them, by way of all their products; padding, 0, counts for nothing."""
    build = GraphBuilder()
    ids, mask = (build.input(name, INT64, "batch", "seq") for name in ("input_ids", "attention_mask"))
    values = build.op("Cast", build.op("Mul", ids, mask), to=FLOAT)
    axes = [build.constant(f"axis{axis}", [axis], np.int64) for axis in (1, 2)]
    products = build.op("MatMul", *(build.op("Unsqueeze", values, axis) for axis in reversed(axes)))
    largest = build.op("ReduceMax", products, axes[1], keepdims=0)
    total = build.op("ReduceSum", largest, axes[0], keepdims=1)
    result = build.op("Mul", total, build.constant("ones", np.ones(DIM)))
    result.name = "sentence_embedding"
    ir.save(build.model(result), path)


@dataclass
class Recorded:
    """A session that notes how many rows it was given, and how many it ran."""

    session: Session
    asked: list[int] = field(default_factory=list)
    ran: list[int] = field(default_factory=list)

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        self.asked.append(len(input_ids))
        vectors = self.session.run(input_ids, attention_mask)
        self.ran.append(len(input_ids))
        return vectors

    def close(self) -> None:
        self.session.close()


def used_bytes() -> int:
    """What counts towards RLIMIT_DATA."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))


def first_values(vectors: np.ndarray) -> list[float]:
    return [float(value) for value in vectors[:, 0]]


def main(directory: Path, target: str, threads: int) -> None:
    path = directory / "onnx/pairs.onnx"
    write_pairs(path)
    opener: Any = {"onnxruntime": OnnxRuntimeSession, "openvino": OpenVinoSession}[target]
    session, text = Recorded(opener(path, threads=threads)), text_values(max_seq_length=LIMIT)
    encoder = Encoder(
        session,
        Tokenizer(tokenizer_json(), text, len(WORDS)),
        strategy="mean",
        dtype="fp32",
        target=target,
        dim=DIM,
        model=model_values(text=text),
    )
    rows = [[2, *[6 + number] * 4094, 3] for number in range(8)]
    texts = [" ".join(WORDS[id_] for id_ in row[1:-1]) for row in rows]
    encoder.encode(texts[:1])  # what a session takes once and for all
    encoder.encode(["w9"] * 8)  # whose vectors must not come back
    resource.setrlimit(resource.RLIMIT_DATA, (used_bytes() + MORE, resource.RLIM_INFINITY))
    session.asked.clear()
    session.ran.clear()
    told: dict[str, Any] = {"vectors": first_values(encoder.encode(texts))}
    told |= {"ran": session.asked[:], "rows": session.ran[:]}
    told["alone"] = [first_values(encoder.encode([text]))[0] for text in texts]
    told["expected"] = [float(max(row) * sum(row)) for row in rows]
    told["embedded"] = first_values(encoder.embed(rows, np.ones((8, 4096), np.int64)))
    session.asked.clear()
    replace(encoder, run_memory=PAIRS, memory=MORE // 3).encode(texts)
    told["budgeted"] = session.asked[:]
    if target == "onnxruntime":  # whose arena keeps what a run took
        told["grown"] = [first_values(encoder.encode(["w1 " * (count - 2)]))[0] for count in (5000, 8000)]
    try:
        encoder.encode(["w1", "w1 " * 11_998])
    except OutOfMemory as error:
        told["error"] = str(error)
    told["after"] = first_values(encoder.encode(texts[:1]))[0]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
