"""The entry of the command `poolfold` and of `python -m poolfold`.

`exporter` and `graphs` are common names: a user's project may have packages called so, on PYTHONPATH or in the folder
where the command runs. Here ours come first, in this process and in those that it starts, which take over `sys.path`.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

_PACKAGES = ("exporter", "graphs", "poolfold")


def main() -> None:
    """Run the command line; does not return."""
    sys.path[:] = order_path(sys.path, Path(__file__).resolve().parents[1])
    # The one import that goes up: the command line ships in the same wheel, and a light install has it too.
    from exporter.commands.cli import main as run

    run()


def order_path(path: list[str], home: Path) -> list[str]:
    """`path` with the entries that hold other packages of our names behind `home`, which holds ours.

    All other entries keep their order, so that a PYTHONPATH goes on working.
    """
    others = [entry for entry in path if Path(entry).resolve() != home and _holds_one(entry)]
    first = [entry for entry in path if entry not in others]
    if all(Path(entry).resolve() != home for entry in first):
        first.append(str(home))
    return first + others


def _holds_one(entry: str) -> bool:
    """Whether an import would find one of our names there. A folder without `__init__.py` never wins over a package."""
    specs = (PathFinder.find_spec(name, [entry]) for name in _PACKAGES)
    return any(spec is not None and spec.loader is not None for spec in specs)


if __name__ == "__main__":
    main()
