"""Pages that are made while the site is built: parts of files outside docs/, commands, the API.

A page asks for them in a comment, which a repository browser hides:

    <!-- file: README.md, section Figures -->
    <!-- commands -->
    <!-- api: fmsel.selection fmsel.selection.pool -->
"""

import os
import re
from pathlib import Path, PurePosixPath

from api import api_text, is_field, is_ours, shorten, tidy
from commands import commands_text
from docutils.nodes import Element, TextElement
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
# Files outside docs/ that have a page on the site.
PAGES = {
    "README.md": "docs/figures.md",
    "benchmarks/README.md": "docs/benchmarks.md",
    "CHANGELOG.md": "docs/changelog.md",
}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")  # target of [text](target#anchor)
MARKER = re.compile(r"^<!-- (file|commands|api)(?:: (.*))? -->$", re.MULTILINE)


def section(text: str, title: str) -> str:
    """What stands below a heading of the second level, up to the next one."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def outside(request: str) -> str:
    """A Markdown file outside docs/, or one section of it, without its title."""
    path, _, title = request.partition(", section ")
    text = (ROOT / path).read_text(encoding="utf-8")
    text = section(text, title) if title else text.split("\n", 1)[1]
    return relinked(text, (ROOT / path).parent)


def relinked(text: str, folder: Path) -> str:
    """Links relative to `folder` of the repository, as links from a page in docs/."""

    def target(match: re.Match[str]) -> str:
        path = os.path.normpath(folder / match[1])
        inside = PurePosixPath(os.path.relpath(path, ROOT)).as_posix()
        return os.path.relpath(ROOT / PAGES.get(inside, inside), DOCS)

    return LINK.sub(target, text)


def on_source_read(app: Sphinx, name: str, source: list[str]) -> None:
    """Fill in what the page's comments ask for."""
    makers = {"file": outside, "commands": lambda _: commands_text(), "api": api_text}
    if "/" not in name:  # pages in folders link only to one another
        source[0] = relinked(source[0], DOCS)
    source[0] = MARKER.sub(lambda match: makers[match[1]](match[2] or ""), source[0])


def on_missing_reference(
    app: Sphinx, env: BuildEnvironment, node: Element, content: TextElement
) -> TextElement | None:
    """Types of fmsel that have no section of their own stay without a link."""
    return content if is_ours(node.get("reftarget", "")) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", on_source_read)
    app.connect("missing-reference", on_missing_reference)
    app.connect("autodoc-skip-member", is_field)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", tidy, priority=900)  # after napoleon
    return {"parallel_read_safe": True}
