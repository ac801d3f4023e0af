"""Pages as a real browser sees them: Chromium without a window, no network.

A script is put behind a copy of the page; what it leaves as JSON is read back from the document.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = "POOLFOLD_BROWSER"
"""Set in CI: a page that was not looked at is no page that was checked."""

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and REQUIRED not in os.environ, reason="no chromium here: the pages are not looked at"
)


def facts(page: Path, script: str, *, dark: bool = False, width: int = 1100) -> Any:
    """What a JavaScript expression gives on a page."""
    marked = f"<script>document.title = 'FACTS' + JSON.stringify({script});</script></body>"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page.read_text(encoding="utf-8").replace("</body>", marked), encoding="utf-8")
        dom = _chromium(folder, copy, "--dump-dom", dark=dark, width=width)
    found = re.search(r"<title>FACTS(.*?)</title>", dom, re.DOTALL)
    assert found is not None, dom[:2000]
    return json.loads(html.unescape(found.group(1)))


def screenshot(page: Path, output: Path, *, dark: bool = False, width: int = 1100, height: int = 3000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _chromium(folder, page, f"--screenshot={output}", dark=dark, width=width, height=height)


def _chromium(folder: str, page: Path, *what: str, dark: bool, width: int, height: int = 3000) -> str:
    assert CHROMIUM is not None, "install chromium"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    done = subprocess.run(
        [CHROMIUM, *_FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}", scheme, *what,
         page.absolute().as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
