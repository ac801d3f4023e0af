"""`python -m bench.service.alone ARTIFACT THREADS SECONDS TEXTS`: `encode` of one text after another.

Prints the seconds of each.
"""

import json
import sys
import time
from pathlib import Path

import poolfold


def main() -> None:
    """Time each call."""
    artifact, threads, seconds, texts = sys.argv[1:]
    asked: list[str] = json.loads(Path(texts).read_text())
    taken: list[float] = []
    with poolfold.load(artifact, threads=int(threads)) as encoder:
        for text in asked[:50]:
            encoder.encode(text)
        end = time.perf_counter() + float(seconds)
        while (began := time.perf_counter()) < end:
            encoder.encode(asked[len(taken) % len(asked)])
            taken.append(time.perf_counter() - began)
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
