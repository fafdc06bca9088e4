"""A figure as it stands on the page: SVG with text as text, that follows light and dark."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from fmsel.report.figure import BASELINE_COLOUR, SOFT
from fmsel.report.table import Table

# What figures are drawn in, and what takes its place; the page and `STYLE` define the variables.
INK, PAPER = "#1c1c1c", "#fefefe"  # of text on the paper, and of the paper itself
GUIDES = ("#bbbbbb", "#e6e6e6")  # frame lines and grid of `clean_axes`
COLOURS = {
    INK: "var(--ink)",
    "#000000": "var(--ink)",
    PAPER: "var(--paper)",
    SOFT: "var(--faint)",
    BASELINE_COLOUR: "var(--base)",
    **dict.fromkeys(GUIDES, "var(--line)"),
}
STYLE = """
:root { --paper: #ffffff; --ink: #1c1c1c; --faint: #5f5f5f; --line: #d8d8d8; --base: #666666; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #ececec; --faint: #a3a3a3; --line: #3a3d41; --base: #a0a0a0; }
}
svg { background: var(--paper); }
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plot:
    """One figure with all that is told of it.

    Attributes:
        name: of its files, and of its ids on the page; letters, digits and dashes.
        figure: drawn, in the colours of `fmsel.report.figure`.
        title: a few words, also for readers who hear the page.
        description: what it shows, a sentence or two.
        table: the same figures as text.
        links: fragment of the page, such as "#t-5" -> the name of the link that leads there.
    """

    name: str
    figure: Figure
    title: str
    description: str
    table: Table | None = None
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def inline(self) -> Markup:
        """The `<svg>` element for a page; all its ids begin with the plot's name."""
        return Markup(self._element)

    @property
    def alone(self) -> str:
        """A whole SVG file, whose links are left out."""
        text = re.sub(r"<a [^>]*>(<title>[^<]*</title>)?|</a>", "", self._element)
        style = f'<style type="text/css">{STYLE}</style>'
        head = '<?xml version="1.0" encoding="utf-8"?>\n'
        return head + text.replace("</title>", f"</title>{style}", 1) + "\n"

    @cached_property
    def _element(self) -> str:
        return _named(_drawn(self.figure, self.name), self)


def slug(name: str) -> str:
    """A name of a file or an id that needs no quotes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


def _drawn(figure: Figure, salt: str) -> str:
    """The `<svg>` element that matplotlib draws, without what is around it."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    for colour, variable in COLOURS.items():
        text = text.replace(colour, variable)
    # Text is laid out in a wide font, so that narrower ones of the reader's fit as well.
    return re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text).rstrip()


def _named(text: str, plot: Plot) -> str:
    """Ids of its own, a name and a description; links with names."""
    name = plot.name
    text = re.sub(r'(<[^<>]*\bid=")([^"]+")', rf"\1{name}-\2", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'(<use [^>]*?xlink:href=")#', rf"\1#{name}-", text)
    if plot.links:
        text = re.sub(r'<a xlink:href="([^"]+)"[^>]*>', lambda m: _link(m[1], plot.links), text)
    role = "group" if plot.links else "img"
    width, height = (round(72 * side, 1) for side in plot.figure.get_size_inches())
    head = (
        f'<svg role="{role}" aria-labelledby="{name}-title {name}-desc" '
        f'viewBox="0 0 {width} {height}" style="fill: var(--ink)" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{name}-title">{escape(plot.title)}</title>'
        f'<desc id="{name}-desc">{escape(plot.description)}</desc>'
    )
    return head + text[text.index(">") + 1 :]


def _link(target: str, names: Mapping[str, str]) -> str:
    name = escape(names.get(target, ""))
    return f'<a href="{escape(target)}" aria-label="{name}"><title>{name}</title>'
