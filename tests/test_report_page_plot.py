"""Figures as SVG: whole XML, text as text, names of their own, colours of the page."""

import re
from xml.etree import ElementTree

from fmsel.report.figure import COLOURS, clean_axes, new_figure, plain, set_heading
from fmsel.report.story.plot import Plot

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"


def example(name: str = "one") -> Plot:
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.plot(
        [0, 1, 2], [1, 3, 2], "o-", color=COLOURS[0], label=plain('a < b & c, $1 or $2, id="x"')
    )
    axes.scatter([1, 2], [2, 2]).set_urls(["#t-s1-5", None])
    axes.legend()
    clean_axes(axes)
    set_heading(axes, "A title", "and <more>")
    links = {"#t-s1-5": 'image 5, "cat" & dog'}
    return Plot(name=name, figure=figure, title="T & t", description="D < d", links=links)


def test_text_is_text_and_the_figure_has_a_name_and_a_description() -> None:
    root = ElementTree.fromstring(example().inline)
    texts = {each.text for each in root.iter(f"{SVG}text")}
    assert {"A title", "and <more>", 'a < b & c, $1 or $2, id="x"'} <= texts
    named = root.attrib["aria-labelledby"].split()
    by_id = {each.attrib["id"]: each for each in root.iter() if "id" in each.attrib}
    assert [by_id[name].text for name in named] == ["T & t", "D < d"]
    assert by_id[named[0]].tag == f"{SVG}title" and by_id[named[1]].tag == f"{SVG}desc"


def test_ids_are_the_figures_own_and_every_reference_leads_somewhere() -> None:
    first, second = example("one").inline, example("two").inline
    ids = re.findall(r'<[^<>]*\bid="([^"]+)"', first)
    assert len(ids) == len(set(ids)) and all(each.startswith("one-") for each in ids)
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', second))
    used = re.findall(r"url\(#([^)]+)\)", first) + re.findall(r'<use xlink:href="#([^"]+)"', first)
    assert used and set(used) <= set(ids)


def test_links_are_named_on_the_page_and_left_out_of_the_file() -> None:
    root = ElementTree.fromstring(example().inline)
    [link] = root.iter(f"{SVG}a")
    assert link.attrib == {"href": "#t-s1-5", "aria-label": 'image 5, "cat" & dog'}
    assert root.attrib["role"] == "group"
    alone = ElementTree.fromstring(example().alone)
    assert not list(alone.iter(f"{SVG}a"))
    assert len(list(alone.iter(f"{SVG}use"))) == len(list(root.iter(f"{SVG}use")))


def test_ink_and_paper_follow_the_page_and_data_keep_their_colours() -> None:
    text = example().inline
    assert "var(--faint)" in text and "var(--line)" in text and "fill: var(--ink)" in text
    assert not re.search("#(?:000000|555555|bbbbbb|e6e6e6)", text, flags=re.IGNORECASE)
    assert COLOURS[0].lower() in text.lower()
    defined = set(re.findall(r"(--\w+):", example().alone))
    assert set(re.findall(r"var\((--\w+)\)", text)) <= defined


def test_the_same_figure_is_the_same_text() -> None:
    assert example().inline == example().inline
