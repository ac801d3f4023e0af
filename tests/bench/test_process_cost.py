import json
import os
import subprocess
import sys

import pytest

from bench.export_cost import Cost, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process costs are measured on Linux")
MIB = 1 << 20
FILLED = "b = bytearray(%d << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\n"


STARTER = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from bench.export_cost import run
print(json.dumps(asdict(run(sys.argv[2:], os.environ, Path(sys.argv[1])))))
"""


def cost(tmp_path, code):
    """Of a program that this one does not start itself: a new process counts the peak of the one that started it."""
    command = [sys.executable, "-c", STARTER, str(tmp_path / "log"), sys.executable, "-c", code]
    return Cost(**json.loads(subprocess.check_output(command)))


@pytest.mark.slow
def test_memory_of_the_process_counts(tmp_path):
    small, big = cost(tmp_path, FILLED % 300), cost(tmp_path, FILLED % 500)
    assert 195 * MIB < big.peak_process_bytes - small.peak_process_bytes < 205 * MIB
    assert big.peak_tree_bytes >= big.peak_process_bytes


@pytest.mark.slow
def test_children_side_by_side_count_together_for_the_tree_alone(tmp_path):
    # Both are full before either ends, however slowly they fill, and stay so for many samples.
    inner = FILLED % 300 + "print(flush=True); input()"
    code = f"import subprocess, sys, time; command = [sys.executable, '-c', {inner!r}]; pipe = subprocess.PIPE\n"
    code += "children = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(2)]\n"
    code += "for child in children: child.stdout.readline()\n"
    code += "time.sleep(2)\n"
    code += "for child in children: child.communicate(b'\\n')"
    found = cost(tmp_path, code)
    assert found.peak_tree_bytes > 600 * MIB
    assert 300 * MIB < found.peak_process_bytes < 600 * MIB


def test_wall_time_covers_the_whole_process(tmp_path):
    assert run([sys.executable, "-c", "import time; time.sleep(0.5)"], os.environ, tmp_path / "log").wall_s > 0.5


def test_a_command_that_fails_is_an_error_with_the_end_of_its_output(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)ended with code 3, expected 0\..*said before"):
        run([sys.executable, "-c", "print('said before', flush=True); exit(3)"], os.environ, tmp_path / "log")
