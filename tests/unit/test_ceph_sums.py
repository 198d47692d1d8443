"""Sums that follow single rows are those taken of all rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evac.placement import Summary
from tui.ceph_sums import Line, Sums

WIDTH = 3

lines = st.tuples(
    st.tuples(*[st.integers(0, 4)] * WIDTH), st.tuples(*[st.sampled_from([0.0, 1.5])] * WIDTH), st.booleans()
)
tables = st.dictionaries(st.sampled_from("abcdefgh"), lines)


def plain(rows: dict[str, Line], place: int | None) -> Summary:
    """Of a column, or of the row sums, counted the long way."""
    every, held = [], []
    for counts, due, inside in rows.values():
        count = sum(counts) if place is None else counts[place]
        fair = any(due) if place is None else due[place]
        every.append(count)
        if inside and (count or fair):
            held.append(count)
    if not held:
        return Summary(sum(every))
    return Summary(sum(every), min(held), sum(held) / len(held), max(held))


def same(sums: Sums, rows: dict[str, Line]) -> None:
    assert [sums.column(place) for place in range(WIDTH)] == [plain(rows, place) for place in range(WIDTH)]
    assert sums.rows == plain(rows, None)


@given(tables, st.lists(st.tuples(st.sampled_from("abcdefgh"), st.none() | lines)))
def test_rows_that_come_change_and_go_leave_the_sums_of_what_is_there(
    first: dict[str, Line], changes: list[tuple[str, Line | None]]
) -> None:
    rows = dict(first)
    sums = Sums(WIDTH)
    sums.add(rows)
    same(sums, rows)
    for key, line in changes:
        if line is None:
            gone = rows.pop(key, None)
            sums.drop(key, gone[1] if gone else (0.0,) * WIDTH, inside=bool(gone and gone[2]))
        else:
            old = rows.get(key)
            # What is due, and whether a row is in, only change together with all: then the sums are taken anew.
            rows[key] = line if old is None else (line[0], old[1], old[2])
            sums.put(key, rows[key])
        same(sums, rows)


def test_a_column_that_is_not_there_has_no_sum() -> None:
    sums = Sums(WIDTH)
    assert sums.column(-1) is None
    assert sums.column(WIDTH) is None
