"""What any of our pages must be, as a browser sees it: whole, readable in light and dark, by eye, keyboard and ear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.browser import facts, screenshot

_SCRIPT = """(() => {
  const all = s => [...document.querySelectorAll(s)];
  const luminance = c => {
    const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  const ids = all('[id]').map(e => e.id);
  return {
    requests: performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:')),
    headings: all('h1, h2, h3').map(e => +e.tagName[1]),
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    text_contrast: contrast(getComputedStyle(document.body).color, paper),
    figure_contrast: Math.min(...all('figure svg text').map(e => contrast(getComputedStyle(e).fill, paper))),
    figures: all('figure').map(e => e.getAttribute('aria-label')),
    drawn: all('figure svg').map(e => e.getBoundingClientRect().height),
    captions: all('table').map(e => e.caption ? e.caption.textContent : ''),
    loose_headers: all('th:not([scope])').length,
    unreachable: all('.scroll').filter(e => e.tabIndex < 0 || !e.getAttribute('aria-label')).length,
    twice: ids.filter((id, i) => ids.indexOf(id) !== i),
    dangling: all('svg [*|href]').map(e => e.getAttribute('xlink:href') || e.getAttribute('href'))
      .filter(h => h && h.startsWith('#') && !document.getElementById(h.slice(1))),
    language: document.documentElement.lang, main: all('main').length, text: document.body.innerText,
  };
})()"""


def check_page(page: Path, tmp_path: Path) -> str:
    """Check a page in both colour schemes and on a phone; returns its text."""
    for dark, width in ((False, 1100), (True, 1100), (False, 420)):
        found = facts(page, _SCRIPT, dark=dark, width=width)
        assert found["requests"] == []
        assert found["headings"][0] == 1
        assert set(found["headings"][1:]) == {2}
        assert found["overflow"] <= 0
        assert found["text_contrast"] >= 7
        assert found["figure_contrast"] >= 4.5
        assert found["figures"]
        assert all(found["figures"])
        assert min(found["drawn"]) > 60
        assert all(found["captions"])
        assert (found["loose_headers"], found["unreachable"], found["twice"], found["dangling"]) == (0, 0, [], [])
        assert (found["language"], found["main"]) == ("en", 1)
    shades = []
    for dark in (False, True):
        output = tmp_path / f"{dark}.png"
        screenshot(page, output, dark=dark)
        shades.append(np.median(np.asarray(Image.open(output).convert("L"))))
    assert shades[0] > 200
    assert shades[1] < 60
    return str(found["text"])
