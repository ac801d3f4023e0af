# ruff: noqa: T201 - a script: it prints
"""Put each deliberate fault of `tests/fault_list.py` into a copy of the source, and see which tests notice it.

usage: python -m tests.faults [--only NAME] [--list]

The working tree is never changed. First the selected tests run on an unchanged copy, where they must pass. Then each
fault gets a copy of its own, two at a time: its tests run as `make check` runs them, without the markers slow and e2e,
and if none fails, as `make test` does.

Exit codes: 0 every fault was caught; 1 a fault survived; 2 the list is wrong: the text of a fault does not occur
exactly once, the tests of a fault fail without it, or the fault keeps the tests from being collected.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fault_list import FAULTS, Fault

ROOT = Path(__file__).parent.parent
COPIED = ("exporter", "graphs", "poolfold", "tests")
LEFT_OUT = ("slow", "e2e")
"""Markers of the tests that `make check` leaves out."""

_PASSED, _FAILED, _NONE_SELECTED = 0, 1, 5  # pytest's exit codes
_HANG_S = 200


@dataclass(frozen=True)
class Outcome:
    """A run of the tests: pytest's exit code, the first test that failed, and what pytest printed."""

    code: int
    test: str
    output: str


@dataclass(frozen=True)
class Row:
    """What became of a fault. command and test: what caught it, None if it survived; error: why it could not be run."""

    fault: Fault
    command: str | None
    test: str
    seconds: float
    error: str = ""


def commands() -> dict[str, tuple[str, ...]]:
    """Command -> how it selects tests, the fewest first; a marker counts once pyproject.toml registers it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    registered = {marker.partition(":")[0].strip() for marker in settings.get("markers", ())}
    left_out = " and ".join(f"not {marker}" for marker in LEFT_OUT if marker in registered)
    return {**({"make check": ("-m", left_out)} if left_out else {}), "make test": ()}


def wrong_anchors(faults: Sequence[Fault]) -> list[str]:
    """Faults whose text does not occur exactly once in its file, and names that occur twice; a line each."""
    counts = {fault: (ROOT / fault.file).read_text().count(fault.before) for fault in faults}
    twice = [name for name, count in Counter(fault.name for fault in faults).items() if count > 1]
    return [
        *(
            f"{fault.name}: {fault.before!r} occurs {count} times in {fault.file}"
            for fault, count in counts.items()
            if count != 1
        ),
        *(f"{name}: two faults have this name" for name in twice),
    ]


def run_tests(copy: Path, tests: Sequence[str], options: Sequence[str]) -> Outcome:
    """Run tests of a copy, up to the first failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--timeout={_HANG_S}"]
    done = subprocess.run(
        [*command, f"--basetemp={copy / 'tmp'}", *options, *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    return Outcome(done.returncode, failed[1] if failed else "", done.stdout + done.stderr)


def copy_source(place: Path) -> None:
    """Copy the source and the tests."""
    for name in COPIED:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", place / "pyproject.toml")


def try_fault(fault: Fault) -> Row:
    """Run a fault's tests on a copy that has the fault."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="poolfold-fault-") as folder:
        copy = Path(folder)
        copy_source(copy)
        file = copy / fault.file
        file.write_text(file.read_text().replace(fault.before, fault.after))
        for command, options in commands().items():
            outcome = run_tests(copy, fault.tests.split(), options)
            seconds = time.monotonic() - start
            if outcome.code == _FAILED:
                return Row(fault, command, outcome.test, seconds)
            if outcome.code not in (_PASSED, _NONE_SELECTED):
                return Row(
                    fault, None, outcome.test, seconds, error=f"pytest ended with {outcome.code}:\n{outcome.output}"
                )
        if outcome.code == _NONE_SELECTED:
            return Row(fault, None, "", seconds, error=f"no test is in {fault.tests}")
        return Row(fault, None, "", seconds)


def describe(row: Row) -> str:
    """A row of the table."""
    result = row.command or ("BROKEN" if row.error else "SURVIVED")
    return f"| {row.fault.name} | {row.fault.file} | {result} | {row.test} | {row.seconds:.0f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", action="append", help="only this fault; repeat for several")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only is None or fault.name in options.only]
    if options.only is not None and (unknown := set(options.only) - {fault.name for fault in faults}):
        parser.error(f"no fault is called {', '.join(sorted(unknown))}; --list prints the names")
    if wrong := wrong_anchors(FAULTS):
        print("\n".join(wrong), file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{fault.name}: {fault.file}" for fault in faults))
        return 0
    with tempfile.TemporaryDirectory(prefix="poolfold-fault-") as folder:
        copy_source(Path(folder))
        selected = sorted({test for fault in faults for test in fault.tests.split()})
        clean = run_tests(Path(folder), selected, ("-n", "2", "--dist", "loadgroup"))
    if clean.code != _PASSED:
        print(f"without any fault, {clean.test or 'no test'} fails:\n{clean.output}", file=sys.stderr)
        return 2
    print("| fault | file | caught by | test | s |\n| --- | --- | --- | --- | --- |", flush=True)
    rows = []
    with ThreadPoolExecutor(2) as pool:
        for row in pool.map(try_fault, faults):
            print(describe(row), flush=True)
            rows.append(row)
    broken = [row for row in rows if row.error]
    survived = [row for row in rows if row.command is None and not row.error]
    print(f"{len(rows) - len(broken) - len(survived)} of {len(rows)} faults caught, {len(survived)} survived")
    for row in broken:
        print(f"{row.fault.name}: {row.error}", file=sys.stderr)
    return 2 if broken else 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
