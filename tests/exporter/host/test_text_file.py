"""A user's texts: a line is a text, whatever wrote the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.host.text_file import read_texts
from poolfold.errors import InputError

BOM = b"\xef\xbb\xbf"


def texts_of(tmp_path: Path, data: bytes) -> tuple[str, ...]:
    path = tmp_path / "texts.txt"
    path.write_bytes(data)
    return read_texts(path)


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"one\ntwo\n", ("one", "two")),
        (b"one\ntwo", ("one", "two")),
        (b"one\r\ntwo\r\n", ("one", "two")),
        (BOM + "eins\nzwölf\n".encode(), ("eins", "zwölf")),
        (b"one\n\n\ntwo\n\n", ("one", "", "", "two", "")),
        (b"\n", ("",)),
        (b"", ()),
        (BOM, ()),
        (b"  padded\t\n", ("  padded\t",)),
        ("form\x0cfeed\nvertical\x0btab\u2028line\u2029paragraph\x85next\x1cfile\n".encode(),
         ("form\x0cfeed", "vertical\x0btab\u2028line\u2029paragraph\x85next\x1cfile")),
        (b"lone\rreturn\n", ("lone\rreturn",)),
        (b"nul\x00byte\n", ("nul\x00byte",)),
    ],
)  # fmt: skip
def test_a_line_is_a_text(tmp_path: Path, data: bytes, texts: tuple[str, ...]) -> None:
    assert texts_of(tmp_path, data) == texts


@given(lines=st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff", exclude_categories=["Cs"]))))
def test_whatever_was_written_line_by_line_comes_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    for end in ("\n", "\r\n"):
        path.write_bytes("".join(line + end for line in lines).encode())
        assert read_texts(path) == tuple(lines)


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"\xff\n", 1), (b"a\n\xff", 2), (BOM + b"a\n\xff\n", 2), (b"a\r\n\r\nb\xc3\r\n", 3), ("a\n".encode("utf-16"), 1)],
)
def test_what_is_not_utf8_is_named_by_its_line(tmp_path: Path, data: bytes, line: int) -> None:
    with pytest.raises(InputError, match=rf"texts\.txt, line {line}: not UTF-8 .*Convert the file"):
        texts_of(tmp_path, data)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt does not exist\. Give a UTF-8 file"):
        read_texts(tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_texts(tmp_path)
