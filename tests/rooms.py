"""Count the rooms of each package and the arrows between them, from the imports: `python -m tests.rooms`.

A room is a folder or a loose file directly in a package, `__init__.py` apart. An arrow joins two rooms of one package
when any file of the one imports any file of the other, at its top or inside a function. A room's floor is the longest
way down from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

import grimp

PACKAGES = ("exporter", "graphs", "poolfold")


@dataclass(frozen=True)
class House:
    """The rooms of a package, each with the rooms that it imports."""

    arrows: Mapping[str, frozenset[str]]

    @property
    def rooms(self) -> int:
        return len(self.arrows)

    @property
    def number_of_arrows(self) -> int:
        return sum(len(below) for below in self.arrows.values())

    @property
    def floors(self) -> Mapping[str, int]:
        """By room: 0 on the ground, else one above the highest room that it imports.

        Raises:
            graphlib.CycleError: rooms that import each other, with the circle.
        """
        heights: dict[str, int] = {}
        for room in TopologicalSorter(self.arrows).static_order():
            heights[room] = max((heights[below] + 1 for below in self.arrows[room]), default=0)
        return heights


def read_house(package: str) -> House:
    """The rooms of `package` and their arrows, read from its source."""
    graph = grimp.build_graph(package, cache_dir=None)
    arrows: dict[str, set[str]] = {}
    for module in graph.modules:
        room = _room(module)
        if room is None:
            continue
        below = {_room(imported) for imported in graph.find_modules_directly_imported_by(module)}
        arrows.setdefault(room, set()).update(name for name in below if name not in (None, room))
    return House({room: frozenset(below) for room, below in sorted(arrows.items())})


def _room(module: str) -> str | None:
    """`exporter.model.trace` -> `model`; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def main() -> None:
    print(f"{'package':<10} {'rooms':>5} {'floors':>6} {'arrows':>6}  from the top floor down")
    for package in PACKAGES:
        house = read_house(package)
        floors = house.floors
        print(f"{package:<10} {house.rooms:>5} {max(floors.values()) + 1:>6} {house.number_of_arrows:>6}")
        for room in sorted(floors, key=lambda name: (-floors[name], name)):
            print(f"{'':<10} {floors[room]}  {room:<14} {', '.join(sorted(house.arrows[room])) or '-'}")


if __name__ == "__main__":
    main()
