"""What a page is made of: sections, and the few kinds of blocks in them that a template knows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from fmsel.report.story.plot import Plot
from fmsel.report.table import Table


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading below the section's."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Sentences, a paragraph each."""

    kind: ClassVar[str] = "notes"
    texts: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Tables, one below the other; folded away under `summary` where that is given."""

    kind: ClassVar[str] = "tables"
    tables: Sequence[Table]
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Plots:
    """Figures side by side where there is room."""

    kind: ClassVar[str] = "plots"
    plots: Sequence[Plot]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image, small, and what is written under it.

    Attributes:
        anchor: its id on the page; "" for none.
        uri: of the picture.
        side: pixels it is shown at.
        alt: what it is, for readers who hear the page.
        title: index and name.
        lines: further lines.
        marked: whether something about it deserves a look.
    """

    anchor: str
    uri: Markup
    side: int
    alt: str
    title: str
    lines: Sequence[str] = ()
    marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """Tiles of one class, in one group or in two that stand apart."""

    name: str
    note: str
    tiles: Sequence[Tile]
    more: Sequence[Tile] = ()


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Rows of tiles that can be folded away."""

    kind: ClassVar[str] = "shelf"
    title: str
    note: str
    rows: Sequence[Row]
    unfolded: bool


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Lines for a shell, with sentences on what they need."""

    kind: ClassVar[str] = "commands"
    title: str
    lines: Sequence[str]
    needs: Sequence[str]


Block = Heading | Notes | Tables | Plots | Shelf | Commands


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        name: its id; letters and dashes.
        title: its heading.
        lead: one sentence on what it shows.
        blocks: its body.
    """

    name: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default_factory=tuple)

    @property
    def plots(self) -> list[Plot]:
        """All of its figures."""
        return [plot for each in self.blocks if isinstance(each, Plots) for plot in each.plots]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A section that cannot be made, and what would make it."""

    title: str
    reason: str
