"""The installed CMake package: another project finds it, links it, and embeds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_another_project_finds_and_links_it(cpp_build: Path, minilm: Path, tmp_path: Path) -> None:
    prefix, build = tmp_path / "prefix", tmp_path / "build"
    run("cmake", "--install", cpp_build, "--prefix", prefix)
    onnxruntime = f"-DONNXRUNTIME_ROOT={os.environ['ONNXRUNTIME_ROOT']}"
    consumer = ROOT / "cpp" / "tests" / "consumer"
    run("cmake", "-S", consumer, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}", onnxruntime)
    run("cmake", "--build", build)
    assert run(build / "consumer", minilm) == "2 x 384, mean\n"
