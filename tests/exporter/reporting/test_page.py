"""The frame of a page: what is put in is shown as text, never as markup, and a page is written whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.reporting import plots
from exporter.reporting.page import Figure, Section, Table, write_page
from tests.browser import facts, needs_chromium
from tests.exporter.reporting.looks import check_page

NASTY = '<script>document.body.innerHTML = ""</script> & "quoted" \u202e日本語'


def page(folder: Path, cell: str = "1") -> Path:
    svg = plots.points(folder, "points", {cell: 1e-6, "b": 1e-3}, x="distance")
    lines = plots.lines(folder, "lines", {"a": {16: 1.5, 64: 3.0}, cell: {16: 2.0, 64: 250.0}}, x="tokens", y="ms")
    path = folder / "page.html"
    table = Table(f"caption {cell}", ("a", "b"), [(cell, "2")])
    write_page(
        path, title=f"title {cell}", lead=[cell], command="poolfold x",
        sections=[Section("one", [cell], [Figure(svg, f"what {cell} shows"), Figure(lines, "lines"), table])],
        environment={"python": "3.11", "versions": {"numpy": "2"}},
    )  # fmt: skip
    return path


@pytest.mark.slow
@needs_chromium
def test_a_page_is_what_any_page_must_be(tmp_path: Path) -> None:
    text = check_page(page(tmp_path), tmp_path)
    assert "versions: numpy 2" in text


@pytest.mark.slow
@needs_chromium
def test_markup_is_shown_and_not_run(tmp_path: Path) -> None:
    found = facts(
        page(tmp_path, NASTY), "[document.querySelector('td, th[scope=row]').textContent, document.body.innerText]"
    )
    assert found[0] == NASTY
    assert found[1].count("<script>") >= 4


@pytest.mark.slow
@needs_chromium
def test_the_checks_see_a_page_that_is_wrong(tmp_path: Path) -> None:
    good = page(tmp_path)
    for wrong, right in (
        ('<p style="width:3000px">x</p></main>', "</main>"),
        ('<img src="http://poolfold.invalid/x.png"></main>', "</main>"),
        ('<h4 id="a">x</h4><p id="a">x</p></main>', "</main>"),
        ("--ink: #d6d6d6; --paper: #fdfdfc", "--ink: #16202a; --paper: #fdfdfc"),
        ("<figure>", '<figure role="img" aria-label="lines">'),
    ):
        text = good.read_text()
        assert right in text
        bad = tmp_path / "bad.html"
        bad.write_text(text.replace(right, wrong))
        with pytest.raises(AssertionError):
            check_page(bad, tmp_path)


def test_plots_lie_beside_the_page_as_png_and_are_the_same_each_time(tmp_path: Path) -> None:
    first = page(tmp_path).read_bytes()
    png = (tmp_path / "points.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert page(tmp_path).read_bytes() == first
    assert (tmp_path / "points.png").read_bytes() == png
    assert not list(tmp_path.glob("*.part"))
    assert not re.search(rb"https?://(?!www\.w3\.org|purl\.org)", first)
