"""Small systems with known behaviour, for tests of the measurement: each is loaded by name in a real worker process."""

import os
import sys
import time
from pathlib import Path

import numpy as np

from exporter.measure.protocol import Pooled

_MIB = 1 << 20


def sleeps(threads, seconds, log=None):
    """Each call takes `seconds`, and appends this process's id and the batch's shape to `log`."""

    def embed(input_ids, attention_mask):
        assert input_ids.dtype == attention_mask.dtype == np.int64
        if log:
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()} {input_ids.shape[0]}x{input_ids.shape[1]} {threads}\n")
        time.sleep(seconds)
        return np.ones((len(input_ids), 4), np.float32)

    return embed


def reads(threads, first_s, fixed_s, per_token_s):
    """Takes a fixed time and a time for each token; the first call takes `first_s` more, as if to page weights in."""
    left = [first_s]

    def embed(input_ids, attention_mask):
        time.sleep((left.pop() if left else 0.0) + fixed_s + per_token_s * input_ids.size)
        return np.ones((len(input_ids), 4), np.float32)

    return embed


def holds(threads, mib):
    """Holds `mib` MiB from its load on."""
    model = _filled(mib)

    def embed(input_ids, attention_mask):
        return np.full((len(input_ids), 4), model[0], np.float32)

    return embed


def needs(threads, mib, only_batch):
    """Needs `mib` MiB during a call, and only for batches of `only_batch` rows."""

    def embed(input_ids, attention_mask):
        if len(input_ids) == only_batch:
            _filled(mib)
        return np.ones((len(input_ids), 4), np.float32)

    return embed


def dies(threads, at_call):
    """Writes to stdout as libraries do, then fails in call number `at_call`; 0 fails while loading."""
    os.write(1, b"loading, said on stdout\n")
    if at_call == 0:
        raise RuntimeError("no such model on Mars")
    calls = 0

    def embed(input_ids, attention_mask):
        nonlocal calls
        calls += 1
        if calls == at_call:
            sys.stderr.flush()
            os.kill(os.getpid(), 9)
        return np.ones((len(input_ids), 4), np.float32)

    return embed


def pools(threads, forward_s, pools_s, log=None):
    """One forward for several strategies, each with a pooling that takes its seconds."""

    def forward(input_ids, attention_mask):
        if log:
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()} {input_ids.shape[0]}x{input_ids.shape[1]}\n")
        time.sleep(forward_s)
        return input_ids

    def pool(seconds):
        def vectors(tokens, attention_mask):
            assert tokens.shape == attention_mask.shape
            time.sleep(seconds)
            return np.ones((len(tokens), 4), np.float32)

        return vectors

    return Pooled(forward, {name: pool(seconds) for name, seconds in pools_s.items()})


def one_vector(threads):
    """Returns one vector whatever the batch."""
    return lambda input_ids, attention_mask: np.ones((1, 4), np.float32)


def _filled(mib):
    return np.full(mib * _MIB, 7, np.uint8)
