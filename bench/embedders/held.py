"""What a process holds that loads an artifact, and how long the load takes."""

import gc
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import poolfold
from exporter.measure import load_artifact
from exporter.measure.workloads import Batch


def held(arguments: Mapping[str, str], threads: int, batches: Sequence[Batch]) -> dict[str, float]:
    """Load an artifact in a fresh process, hashing apart, and run batches.

    Returns:
        `load_s`, seconds; and in bytes above the imports `private` and `mapped`, pages of files that processes share,
        when loaded; `private_after` and `mapped_after` behind the batches.
    """
    load_artifact.prepare(target=arguments["target"])
    before, start = _memory(), time.perf_counter()
    encoder = poolfold.load(**arguments, threads=threads, verify=False)
    taken, loaded = time.perf_counter() - start, _memory()
    warnings.filterwarnings("ignore", "a text has .* tokens", UserWarning)
    for batch in batches:
        encoder.embed(batch.input_ids, batch.attention_mask)
    gc.collect()
    after = _memory()
    return {
        "load_s": taken,
        **{kind: float(loaded[kind] - before[kind]) for kind in before},
        **{f"{kind}_after": float(after[kind] - before[kind]) for kind in before},
    }


def _memory() -> dict[str, int]:
    """Resident bytes of this process, on Linux: its own, and of mapped files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    names = {"private": "RssAnon", "mapped": "RssFile"}
    return {kind: int(lines[name].split()[0]) * 1024 for kind, name in names.items()}
