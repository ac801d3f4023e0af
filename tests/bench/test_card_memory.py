"""The card's memory, read through a driver of the same interface that is built here: no real one is."""

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Memory in use, in MiB, at each reading: 100 at first, 400 at the fifth, 150 from then on.
DRIVER = """
#include <stddef.h>
static int context, readings;
int cuInit(unsigned flags) { return INIT + (int)flags; }
int cuDeviceGet(int *device, int ordinal) { *device = 7 + ordinal; return 0; }
int cuDevicePrimaryCtxRetain(void **made, int device) { *made = &context; return device == 7 ? 0 : 101; }
int cuCtxSetCurrent(void *current) { return current == &context ? 0 : 201; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    size_t used = readings == 0 ? 100 : readings == 4 ? 400 : 150;
    readings++;
    *total = (size_t)80000 << 20;
    *free = *total - (used << 20);
    return 0;
}
"""
WATCH = """
import time
from bench.gpu.card import watch
with watch("cuda") as memory:
    time.sleep(0.5)
    print(memory())
"""


def watched(folder, init=0):
    source = folder / "driver.c"
    source.write_text(DRIVER)
    library = folder / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", f"-DINIT={init}", "-o", library, source], check=True)
    variables = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    return subprocess.run([sys.executable, "-c", WATCH], env=variables, capture_output=True, text=True, check=True)


needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="builds a driver's interface with a C compiler")


@needs_compiler
def test_a_peak_between_two_calls_of_ours_is_seen(tmp_path):
    assert int(watched(tmp_path).stdout) == 300 << 20


@needs_compiler
def test_a_driver_that_refuses_stops_nothing(tmp_path):
    ended = watched(tmp_path, init=100)
    assert ended.stdout == "None\n"
    assert "the CUDA driver's cuInit returned 100, expected 0" in ended.stderr


@pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="there is a driver here")
def test_no_driver_at_all_stops_nothing():
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    ended = subprocess.run([sys.executable, "-c", WATCH], env=variables, capture_output=True, text=True, check=True)
    assert ended.stdout == "None\n"
    assert "libcuda.so.1" in ended.stderr
