from __future__ import annotations

from pathlib import Path

import pytest

from poolfold.sessions.user_cache import cache_path, read_cache, write_cache


def test_a_cache_lies_in_the_users_folder_under_a_safe_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cache_path("runtime", "tensorrt-rtx", "1.7.1.116", "NVIDIA RTX 6000/../x", "abc")
    assert path == tmp_path / "poolfold/runtime/tensorrt-rtx_1.7.1.116_NVIDIA-RTX-6000-..-x_abc"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.cache"
    assert read_cache(path) == b""
    write_cache(path, b"one")
    write_cache(path, memoryview(b"two"))
    assert read_cache(path) == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.cache"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write_cache(tmp_path / "file" / "a.cache", b"one")
    assert read_cache(tmp_path / "file" / "a.cache") == b""


def test_a_cache_that_cannot_replace_a_folder_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.cache").mkdir()
    write_cache(tmp_path / "a.cache", b"one")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.cache"]
