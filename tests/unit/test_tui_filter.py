"""The filter: its grammar, and that nothing typed into it is an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.filter import Haystack, hits, matcher, parse

ROWS = {
    "a": Haystack("web-01 running cmp-07 prod tag-db", "cmp-07", "running", "prod", "db prod", "web-01", "1"),
    "b": Haystack("db-02 error cmp-08 lab", "cmp-08", "error", "lab", "", "db-02", "2"),
    "c": Haystack("web-03 error cmp-07 lab", "cmp-07", "error", "lab", "test", "web-03", "3"),
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "abc"),
        ("web", "ac"),
        ("WEB", "ac"),
        ("!web", "b"),
        ("host:cmp-07", "ac"),
        ("host:cmp-07 !state:running", "c"),
        ("state:err cluster:lab web", "c"),
        ("tag:db", "a"),
        ('"web-01 running"', "a"),
        ("state:", "abc"),
        ("!", "abc"),
        ("nosuch:field", ""),
        ("name:db", "b"),
        ("id:3", "c"),
        ('host:"cmp-0"', ""),
        ('host:"cmp-0', "abc"),
        ('host:"cmp-07" !name:"web-01"', "c"),
        ('tag:"prod"', "a"),
    ],
)
def test_the_grammar(text: str, found: str) -> None:
    assert "".join(hits(ROWS, text)) == found
    test = matcher(text)
    assert "".join(key for key, hay in ROWS.items() if test is None or test(hay)) == found


def test_a_short_word_does_not_find_ids_and_a_pasted_one_does() -> None:
    """Every fourth UUID holds "db": an admin who types that means a name."""
    uuid = "a55631eb-00db-401b-9db5-1125f707c19e"
    rows = {"x": Haystack("web-01 running", name="web-01", id=uuid, deep=uuid)}
    assert hits(rows, "db") == []
    assert hits(rows, uuid[:8]) == hits(rows, uuid) == hits(rows, "id:db") == ["x"]
    assert hits(rows, f"!{uuid}") == []


@given(st.text(max_size=60))
def test_nothing_typed_is_an_error(text: str) -> None:
    parse(text)
    test = matcher(text)
    kept = [key for key, hay in ROWS.items() if test is None or test(hay)]
    assert kept == hits(ROWS, text)


@given(
    st.text(
        st.characters(
            exclude_characters='!:" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0',
            exclude_categories=["Zs", "Zl", "Zp"],
        ),
        min_size=1,
        max_size=9,
    )
)
def test_a_word_and_its_inverse_part_the_rows(word: str) -> None:
    assert sorted(hits(ROWS, word) + hits(ROWS, f"!{word}")) == ["a", "b", "c"]
