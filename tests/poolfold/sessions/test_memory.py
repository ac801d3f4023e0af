"""What a process may take: the machine's, or what its cgroup leaves, of either version."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from exporter.host.memory import available_bytes

GIB = 2**30


def write(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


V1, V2 = "sys__fs__cgroup__memory__job__memory_dot_", "sys__fs__cgroup__job__memory_dot_"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (
            {"proc__self__cgroup": "0::/job\n", f"{V2}max": f"{GIB}\n", f"{V2}current": f"{GIB // 2}\n"},
            GIB // 2,
        ),
        (
            {
                "proc__self__cgroup": "4:memory:/job\n",
                f"{V1}limit_in_bytes": f"{GIB}\n",
                f"{V1}usage_in_bytes": f"{GIB // 2}\n",
                f"{V1}stat": f"cache 1\ntotal_inactive_file {GIB // 4}\n",
            },
            3 * GIB // 4,
        ),
        (
            {
                "proc__self__cgroup": "0::/job/inner\n",
                f"{V2}max": "1000\n",
                f"{V2}current": "2000\n",
                "sys__fs__cgroup__job__inner__memory_dot_max": "max\n",
            },
            0,
        ),
    ],
)
def test_a_cgroup_leaves_what_is_not_used_and_what_can_be_freed(
    tmp_path: Path, files: dict[str, str], left: int
) -> None:
    assert available_bytes(write(tmp_path, **files)) == left


@pytest.mark.parametrize("files", [{}, {"proc__self__cgroup": "0::/job\n", f"{V2}max": "max\n"}])
def test_without_a_limit_it_is_the_machines(tmp_path: Path, files: dict[str, str]) -> None:
    assert 0 < available_bytes(write(tmp_path, **files)) <= psutil.virtual_memory().total
