import os
import resource
import sys

import pytest

from bench.export_cost import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process costs are measured on Linux")
MIB = 1 << 20
FILLED = "b = bytearray(%d << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\n"


def cost(tmp_path, code):
    return run([sys.executable, "-c", code], os.environ, tmp_path / "log")


@pytest.mark.slow
def test_memory_of_the_process_counts(tmp_path):
    # Both above what this test process ever held: a new process counts that until it becomes its own program.
    above = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + 200
    small, big = cost(tmp_path, FILLED % above), cost(tmp_path, FILLED % (above + 200))
    assert 195 * MIB < big.peak_process_bytes - small.peak_process_bytes < 205 * MIB
    assert big.peak_tree_bytes >= big.peak_process_bytes


@pytest.mark.slow
def test_children_side_by_side_count_together_for_the_tree_alone(tmp_path):
    above = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + 200
    inner = FILLED % above + "import time; time.sleep(2)"
    code = f"import subprocess, sys; command = [sys.executable, '-c', {inner!r}]\n"
    code += "for child in [subprocess.Popen(command), subprocess.Popen(command)]: child.wait()"
    found = cost(tmp_path, code)
    assert found.peak_tree_bytes > 2 * above * MIB
    assert above * MIB < found.peak_process_bytes < 2 * above * MIB


def test_wall_time_covers_the_whole_process(tmp_path):
    assert cost(tmp_path, "import time; time.sleep(0.5)").wall_s > 0.5


def test_a_command_that_fails_is_an_error_with_the_end_of_its_output(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)ended with code 3, expected 0\..*said before"):
        cost(tmp_path, "import sys; print('said before', flush=True); sys.exit(3)")
