"""The frame of a page: one file, readable without its plots, in light and dark, by eye, keyboard and screen reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poolfold.sessions.user_cache import write_whole


@dataclass(frozen=True)
class Figure:
    """A plot: its SVG, and in words what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; folded, it is shown when a reader opens it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and what belongs to them."""

    title: str
    text: Sequence[str]
    parts: Sequence[Figure | Table] = ()


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --ink: #16202a; --paper: #fdfdfc; --line: #c9d1d9; --soft: #eef2f5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #10161c; --line: #3d4852; --soft: #1b242c; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; font: 1rem/1.55 system-ui, sans-serif;
       color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
.verdict { border-left: .35rem solid currentColor; background: var(--soft); padding: .6rem 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.2rem 0; } figure svg { width: 100%; height: auto; max-width: 46rem; color: var(--ink); }
figcaption { max-width: 46rem; }
summary { cursor: pointer; margin: .8rem 0; }
code { background: var(--soft); padding: .1rem .35rem; border-radius: .2rem; overflow-wrap: anywhere; }
a { color: inherit; }
</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
<section class="verdict" aria-label="Verdict">
{% for sentence in lead %}<p>{{ sentence }}</p>
{% endfor %}{% if command %}<p><code>{{ command }}</code></p>
{% endif %}</section>
{% for section in sections %}
<h2>{{ section.title }}</h2>
{% for sentence in section.text %}<p>{{ sentence }}</p>
{% endfor %}{% for part in section.parts %}{% if part.svg is defined %}
<figure role="img" aria-label="{{ part.caption }}">{{ part.svg | safe }}<figcaption>{{ part.caption }}</figcaption></figure>
{% else %}
{% if part.folded %}<details><summary>{{ part.caption }}</summary>
{% endif %}<div class="scroll" tabindex="0" role="region" aria-label="{{ part.caption }}"><table>
<caption>{{ part.caption }}</caption>
<thead><tr>{% for cell in part.header %}<th scope="col">{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in part.rows %}
<tr>{% for cell in row %}{% if loop.first %}<th scope="row">{{ cell }}</th>{% else %}<td>{{ cell }}</td>{% endif %}{% endfor %}</tr>{% endfor %}
</tbody></table></div>{% if part.folded %}</details>{% endif %}

{% endif %}{% endfor %}{% endfor %}
<h2>Where this was measured</h2>
<ul>{% for name, value in environment.items() %}<li>{{ name }}: {{ value }}</li>{% endfor %}</ul>
</main>
</body>
</html>
"""  # noqa: E501 - a template's lines are the page's


def write_page(
    path: Path,
    *,
    title: str,
    lead: Sequence[str],
    command: str,
    sections: Sequence[Section],
    environment: Mapping[str, object],
) -> None:
    """Write a page, whole: what is there stays until the new one is complete."""
    import jinja2

    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_TEMPLATE)
    shown = {name.replace("_", " "): _shown(value) for name, value in environment.items()}
    text = page.render(title=title, lead=lead, command=command, sections=sections, environment=shown)
    write_whole(path, lambda file: file.write(text.encode()))


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return str(value)
