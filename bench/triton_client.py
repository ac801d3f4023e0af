"""In Triton's environment: `triton_client.py grpc|http HOST:PORT REQUESTS FOLDER [--until-lost]`.

32 clients ask for the texts of FOLDER/texts.json, and every answer is held against FOLDER/wanted.npy. Prints JSON:
answers, wrong ones, errors and times. `--until-lost`: ends at the first error, for a server that ends.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_CLIENTS, _SHOWN = 32, 3
_DIFFERENCE = 1e-4
"""At most, of a value of a vector: another text's vector differs by more."""
_MODEL = "minilm"


async def run(protocol: str, place: str, requests: int, folder: Path, until_lost: bool) -> dict[str, Any]:
    """Ask."""
    if protocol == "grpc":
        import tritonclient.grpc.aio as triton
        from tritonclient.grpc import InferInput

        client: Any = triton.InferenceServerClient(place)
    else:
        import tritonclient.http.aio as triton
        from tritonclient.http import InferInput

        client = triton.InferenceServerClient(place, conn_limit=_CLIENTS, conn_timeout=600)
    texts, wanted = json.loads((folder / "texts.json").read_text()), np.load(folder / "wanted.npy")
    chance = random.Random(1)
    order = iter([chance.randrange(len(texts)) for _ in range(requests)])
    taken: list[float] = []
    errors: list[str] = []
    wrong = 0

    async def one() -> None:
        nonlocal wrong
        for index in order:
            value = InferInput("text", [1, 1], "BYTES")
            value.set_data_from_numpy(np.array([[texts[index].encode()]], dtype=object))
            began = time.perf_counter()
            try:
                answer = await client.infer(_MODEL, [value])
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}"[:300])
                if until_lost:
                    return
                continue
            taken.append(time.perf_counter() - began)
            vector = answer.as_numpy("embedding")[0]
            wrong += not np.allclose(vector, wanted[index], rtol=0, atol=_DIFFERENCE)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(_CLIENTS)))
    seconds = time.perf_counter() - began
    await client.close()
    ms = np.array(taken or [float("nan")]) * 1000
    return {
        "answers": len(taken),
        "wrong": wrong,
        "errors": len(errors),
        "first_errors": errors[:_SHOWN],
        "texts_per_s": round(len(taken) / seconds, 1),
        "p50_ms": round(float(np.quantile(ms, 0.5)), 1),
        "p99_ms": round(float(np.quantile(ms, 0.99)), 1),
    }


if __name__ == "__main__":
    protocol, place, requests, folder, *more = sys.argv[1:]
    print(json.dumps(asyncio.run(run(protocol, place, int(requests), Path(folder), bool(more)))))
