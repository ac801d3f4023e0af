"""`make soak`: a service at 80 % of its load with every answer checked, then overload, kills and hostile requests.

Writes bench/results/soak.json. Ends with status 1 where an answer was another text's, one was lost, memory grew, or a
hostile request got anything but a 4xx or a closed connection.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import poolfold
from bench.exports import export_ours
from bench.models import installed_minilm
from bench.service.__main__ import texts
from bench.service.clients import Connection, Found, load
from bench.service.systems import Serving, ours
from bench.systems import OURS
from exporter.host.environment import environment

RESULTS = Path("bench/results/soak.json")
_ARTIFACT = Path("build/bench/service/artifact")
_CLIENTS, _LOAD = 64, 0.8
_FLAT_MIB = 32
_WAITING = 20_000
"""Tokens that may wait under overload: a few seconds of this model."""


def resident_mib(serving: Serving) -> int:
    """What a process holds now."""
    status = Path(f"/proc/{serving.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) >> 10


def told(found: Found) -> dict[str, Any]:
    """What is kept of a phase."""
    return {
        "answers": len(found.seconds),
        "wrong": found.wrong,
        "lost": found.lost,
        "statuses": {str(status): count for status, count in found.statuses.items()},
        "texts_per_s": round(found.rate, 1),
        "p50_ms": round(found.at(0.5), 1),
        "p99_ms": round(found.at(0.99), 1),
    }


def steady(serving: Serving, asked: list[str], wanted: Any, minutes: float) -> dict[str, Any]:
    """So many minutes at 80 % of what it can; memory every few seconds."""
    most = asyncio.run(load(serving.place, asked, wanted, clients=_CLIENTS, seconds=10)).rate
    memory, ended = [], threading.Event()

    def watch() -> None:
        while not ended.wait(5):
            memory.append(resident_mib(serving))

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = asyncio.run(
        load(serving.place, asked, wanted, clients=_CLIENTS, seconds=60 * minutes, rate=_LOAD * most, seed=1)
    )
    ended.set()
    watcher.join()
    fifth = max(1, len(memory) // 5)
    return {
        "most_texts_per_s": round(most, 1),
        "minutes": minutes,
        **told(found),
        "mib_first_fifth": max(memory[:fifth]),
        "mib_last_fifth": max(memory[-fifth:]),
    }


def overload(asked: list[str], wanted: Any, seconds: float) -> dict[str, Any]:
    """Five times what it can, all at once: those that find no room are told so, and the rest is right."""
    with ours(_ARTIFACT, "--max-waiting", str(_WAITING)) as serving:
        most = asyncio.run(load(serving.place, asked, wanted, clients=_CLIENTS, seconds=5)).rate
        found = asyncio.run(load(serving.place, asked, wanted, clients=2000, seconds=seconds, rate=5 * most, seed=2))
        return {"asked_per_s": round(5 * most, 1), **told(found), "mib": serving.peak_mib}


def killed(asked: list[str], wanted: Any, kills: int) -> dict[str, Any]:
    """Killed under load and started again: nobody gets a wrong answer, and clients that ask again are answered."""
    total = Found(window=1)
    after = 0
    for turn in range(kills):
        with ours(_ARTIFACT) as serving:

            async def run(serving: Serving = serving, turn: int = turn) -> Found:
                loading = asyncio.create_task(
                    load(serving.place, asked, wanted, clients=_CLIENTS, seconds=3, warm=0.5, seed=10 + turn)
                )
                await asyncio.sleep(2)
                serving.process.kill()
                return await loading

            found = asyncio.run(run())
            total.wrong += found.wrong
            total.statuses += found.statuses
        with ours(_ARTIFACT) as serving:
            after += len(asyncio.run(load(serving.place, asked, wanted, clients=8, seconds=1, seed=20 + turn)).seconds)
    statuses = {str(status): count for status, count in total.statuses.items()}
    return {"kills": kills, "wrong": total.wrong, "statuses": statuses, "answers_after": after}


async def _hostile(serving: Serving, count: int) -> Counter[str]:
    """Broken, wrong, huge and unfinished requests, a hundred at once."""
    chance, seen, room = random.Random(5), Counter[str](), asyncio.Semaphore(100)
    good = b'{"input": "a text"}'

    def head(length: int, *more: str) -> bytes:
        return "\r\n".join(
            ["POST /v1/embeddings HTTP/1.1", "host: x", f"content-length: {length}", *more, "", ""]
        ).encode()

    def mutated() -> bytes:
        data = bytearray(head(len(good)) + good)
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(1, 4))
        return bytes(data)

    def body(content: bytes) -> bytes:
        return head(len(content)) + content

    kinds = (
        lambda: chance.randbytes(chance.randrange(1, 4000)),
        lambda: body(good[: chance.randrange(len(good))]),
        lambda: body(b"[" * chance.randrange(10_000)),
        lambda: body(json.dumps({"input": chance.choice([None, 3, {}, [None], [[1]], [], True])}).encode()),
        lambda: body(json.dumps({"input": "a", "dimensions": chance.choice([-1, 0, 10**30, "x"])}).encode()),
        lambda: body(json.dumps({chance.choice(["inputs", "text", "x"]): "a"}).encode()),
        lambda: head(10**12),
        lambda: b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: %s\r\n" % (n, b"y" * 500) for n in range(400)),
        lambda: head(100) + good,
        lambda: head(len(good), "content-length: 3") + good,
        lambda: b"POST /" + b"a" * 90_000 + b" HTTP/1.1\r\n\r\n",
        lambda: body(b'{"input": ["' + b"w " * 5_000_000 + b'"]}') if chance.random() < 0.02 else mutated(),
        mutated,
    )

    async def one() -> None:
        async with room:
            reader, writer = await asyncio.open_connection(*serving.place)
            got = b""
            with contextlib.suppress(OSError):
                writer.write(chance.choice(kinds)())
                await asyncio.wait_for(writer.drain(), 10)
                if chance.random() < 0.3:
                    writer.write_eof()
                with contextlib.suppress(TimeoutError):
                    got = await asyncio.wait_for(reader.read(200), chance.choice([0.02, 0.3, 12]))
            seen[got[9:12].decode() if got.startswith(b"HTTP/1.1 ") else "closed or left"] += 1
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(count)))
    return seen


def hostile(asked: list[str], wanted: Any, count: int) -> dict[str, Any]:
    """All of them, beside a client that asks as it should."""
    with ours(_ARTIFACT) as serving:
        before, files = resident_mib(serving), len(list(Path(f"/proc/{serving.process.pid}/fd").iterdir()))
        ended = threading.Event()
        beside: list[Found] = []

        def good() -> None:
            while not ended.is_set():
                beside.append(asyncio.run(load(serving.place, asked, wanted, clients=2, seconds=2, warm=0)))

        thread = threading.Thread(target=good)
        thread.start()
        seen = asyncio.run(_hostile(serving, count))
        ended.set()
        thread.join()
        time.sleep(35)  # what lingers is closed by then
        left = len(list(Path(f"/proc/{serving.process.pid}/fd").iterdir())) - files
        status, _ = asyncio.run(Connection(*serving.place).ask("a text"))
        return {
            "requests": count,
            "answers": dict(seen),
            "beside": {"answers": sum(len(f.seconds) for f in beside), "wrong": sum(f.wrong for f in beside),
                       "lost": sum(f.lost for f in beside)},
            "files_left": left,
            "mib_before": before,
            "mib_after": resident_mib(serving),
            "answers_then": status,
        }  # fmt: skip


def failures(result: dict[str, Any]) -> list[str]:
    """What must not be."""
    steady, overload, killed, hostile = (result[name] for name in ("steady", "overload", "killed", "hostile"))
    grown = steady["mib_last_fifth"] - steady["mib_first_fifth"]
    checks = {
        "wrong answers": steady["wrong"] + overload["wrong"] + killed["wrong"] + hostile["beside"]["wrong"],
        "requests without an answer": steady["lost"] + overload["lost"] + hostile["beside"]["lost"],
        "requests refused below the load": sum(steady["statuses"].values()) - steady["statuses"].get("200", 0),
        "other answers than 200 and 429 under overload": sorted(set(overload["statuses"]) - {"200", "429"}),
        "no 429 under overload": "429" not in overload["statuses"],
        "MiB that memory grew by": grown if grown > _FLAT_MIB else 0,
        "hostile requests answered with a 5xx": [status for status in hostile["answers"] if status.startswith("5")],
        "files left open": max(0, hostile["files_left"]),
        "no answer after hostile requests": hostile["answers_then"] != 200,
        "no answer after a kill": not killed["answers_after"],
    }
    return [f"{what}: {found}" for what, found in checks.items() if found]


def main() -> None:
    """Run all phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="of the steady load (default: 30)")
    parser.add_argument("--hostile", type=int, default=10_000, help="requests (default: 10000)")
    parser.add_argument("--kept", action="store_true", help="take the artifact that was exported before")
    given = parser.parse_args()
    if not given.kept:
        export_ours(installed_minilm(), _ARTIFACT, OURS, ("mean",))
    asked = texts()
    with poolfold.load(_ARTIFACT) as encoder:
        wanted = encoder.encode(asked)
    result: dict[str, Any] = {"command": f"python -m bench.service.soak {' '.join(sys.argv[1:])}".strip()}
    with ours(_ARTIFACT) as serving:
        result["steady"] = steady(serving, asked, wanted, given.minutes)
    for name, phase in (
        ("overload", lambda: overload(asked, wanted, 20)),
        ("killed", lambda: killed(asked, wanted, 5)),
        ("hostile", lambda: hostile(asked, wanted, given.hostile)),
    ):
        print(json.dumps(result), file=sys.stderr)
        result[name] = phase()
    result |= {"failures": failures(result), "environment": environment()}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "environment"}, indent=1))
    sys.exit(bool(result["failures"]))


if __name__ == "__main__":
    main()
