"""Whatever a VM is called, no name of it becomes a tag, a link, a table cell, a line or a control character of a report."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from evac.harmless import LONGEST, harmless
from evac.jobs import JobState, OrderState
from evac.report import order_report, window_report
from evac.report_html import html
from evac.report_markdown import escaped, markdown
from evac.report_nouns import Report
from tests.unit import report_rig as rig

PIECES = st.sampled_from(
    [
        "<script>",
        "</td>",
        "<!--",
        "-->",
        "&lt;",
        "&#60;",
        "|",
        "\\",
        "`",
        "**",
        "__",
        "[x](javascript:1)",
        "![",
        "\n",
        "\r\n",
        "\x1b[31m",
        "\x9b2J",
        "\x07",
        "\u202e",
        "\u200b",
        "\U000e0041",
        "\ud800",
        "\u2028",
        "'",
        '"',
        "日本",
        "e\u0301\u0301\u0301",
        "# ",
        "- ",
        "1. ",
        "    ",
        "~~",
        "$x$",
        "http://x.example",
        "<http://x>",
        "\ufe0f",
        "\u3164",
        "=",
        "_a_",
        "{{",
        "<a\n",
    ]
)
NAMES = st.lists(PIECES | st.text(max_size=8), min_size=1, max_size=12).map("".join).filter(str.strip)

CELLS = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def named(name: str) -> Report:
    jobs = [
        rig.move(
            1, "O4", name, felt_words=name, reason=name, state=JobState.FAILED, note=name, cancel_by=name
        ),
        rig.move(2, "O4", "plain", felt=(replace(rig.FELT, address=name, unmeasured=name),)),
    ]
    order, found = rig.drain(
        *jobs, title=name, ticket=name, left=(name,), state=OrderState.INCOMPLETE, reason=name
    )
    return order_report(order, found, rig.frame(hosts={"pve/pve-a1": name}))


class Tags(HTMLParser):
    """Which tags there are, with their attributes, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[str] = []
        self.comments = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments += 1


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    return tags


@given(NAMES)
def test_no_tag_of_a_name_reaches_the_html(name: str) -> None:
    got, plain = parsed(html(named(name))), parsed(html(named("web-1")))
    assert [tag for tag, _ in got.tags] == [tag for tag, _ in plain.tags]
    assert {attrs for _, attrs in got.tags} <= {attrs for _, attrs in plain.tags} | {
        (("class", "odd"),),
        (("class", "w"),),
    }
    assert got.comments == 0
    assert harmless(name) in "".join(got.texts)


@given(NAMES)
def test_no_tag_link_or_cell_of_a_name_reaches_the_markdown(name: str) -> None:
    """By a real renderer that lets raw HTML through."""
    got = parsed(CELLS.render(markdown(named(name))))
    plain = parsed(CELLS.render(markdown(named("web-1"))))
    assert got.tags == plain.tags
    assert got.comments == 0


@given(NAMES)
def test_what_a_person_reads_in_the_markdown_is_the_name(name: str) -> None:
    shown = "".join(parsed(CELLS.render(f"| a |\n| --- |\n| x {escaped(name)} x |\n")).texts)
    assert " ".join(f"x {harmless(name)} x".split()) in " ".join(shown.split())


@given(NAMES)
def test_no_control_or_hidden_character_of_a_name_reaches_a_report(name: str) -> None:
    for text in (html(named(name)), markdown(named(name))):
        bad = {
            char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        }
        assert bad <= {"\n"}
        assert text.encode()


@given(NAMES)
def test_a_name_adds_no_line(name: str) -> None:
    assert markdown(named(name)).count("\n") == markdown(named("web-1")).count("\n")


def test_a_name_of_200_wide_characters_is_whole_and_widens_no_other_row() -> None:
    name = "宽" * 200
    text = markdown(named(name))
    assert name in text
    row = next(line for line in text.splitlines() if line.startswith("| plain"))
    assert len(row) < 600


def test_an_error_text_of_megabytes_is_cut() -> None:
    text = markdown(named("x" * 3_000_000))
    assert len(text) < 30 * LONGEST


def test_the_html_needs_nothing_from_elsewhere_and_forbids_it() -> None:
    text = html(window_report(rig.window(), rig.orders(), rig.frame()))
    assert not re.search(r"(src=|href|url\(|@import|<script|<link|<img|<iframe|http:|https:)", text)
    assert "default-src 'none'" in text
