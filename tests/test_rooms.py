"""The tree shows the architecture: few rooms, few arrows, no circle, every file in a table of contents."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.rooms import PACKAGES, House, read_house

ROOT = Path(__file__).parent.parent
MOST = {"exporter": (15, 56), "graphs": (12, 20), "poolfold": (14, 45)}
"""Rooms and arrows of a package at most."""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_few_rooms_and_few_arrows(package: str) -> None:
    house = read_house(package)
    most_rooms, most_arrows = MOST[package]
    assert house.rooms <= most_rooms
    assert house.number_of_arrows <= most_arrows
    assert all(
        house.floors[room] > house.floors[below] for room, all_below in house.arrows.items() for below in all_below
    )


def test_a_circle_is_found() -> None:
    circle = House({"a": frozenset({"b"}), "b": frozenset({"a"})})
    with pytest.raises(ValueError, match="cycle"):
        _ = circle.floors


def test_arrows_inside_functions_count() -> None:
    assert "pipeline" in read_house("exporter").arrows["api"]  # each function imports it when it runs


@pytest.mark.parametrize("package", ["graphs", "exporter", "poolfold/sessions"])
def test_every_file_stands_in_a_table_of_contents(package: str) -> None:
    top = ROOT / package
    missing = []
    for file in sorted(top.rglob("*.py")):
        if file.name == "__init__.py":
            continue
        tables = " ".join(
            ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
            for folder in (file.parent, *file.parent.parents)
            if folder.is_relative_to(top)
        )
        if not re.search(rf"\b{file.stem}\b", tables):
            missing.append(str(file.relative_to(ROOT)))
    assert not missing
