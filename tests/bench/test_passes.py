"""docs/passes.md shows what `bench.passes` kept, and a run keeps the same of any graphs."""

from __future__ import annotations

import json
from pathlib import Path

from bench.passes import table

ROOT = Path(__file__).parents[2]


def test_the_page_holds_the_table_of_the_kept_result() -> None:
    kept = json.loads((ROOT / "bench" / "results" / "passes.json").read_text())
    page = (ROOT / "docs" / "passes.md").read_text()
    assert page.split("<!-- bench/passes -->\n")[1].split("\n<!-- /bench/passes -->")[0] == table(kept)
