"""Help: made from the bindings that are active now, so it cannot name a key that does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.allowed import WRITES
from tui.filter import FIELDS
from tui.keys import key_name
from tui.look import Line, Span
from tui.text import clean, fit

if TYPE_CHECKING:
    from tui.app import Console


CEPH_FILTER: Line = (Span("  in this pane host: rack: class: state: choose rows, pool: chooses columns"),)


def active(console: Console) -> list[tuple[str, str, str]]:
    """(keys, words, action) for everything active on the main screen, keys of one action joined."""
    joined: dict[tuple[str, str], list[str]] = {}
    for key, binding in console.main.active_bindings.items():
        shown = binding.enabled or console.withheld(binding.binding.action)
        if shown and binding.binding.description:
            words = binding.binding.tooltip or binding.binding.description
            joined.setdefault((words, binding.binding.action), []).append(key_name(key))
    return [(" ".join(keys), words, action) for (words, action), keys in joined.items()]


def entry_line(keys: str, words: str, _action: str, *, why_not: str, plain: bool) -> Line:
    """A key and what it does; dimmed with the reason where the cluster of this row cannot."""
    lead = fit(f"  {keys}", 24, ascii_only=plain)
    if why_not:
        return (Span(lead, "dim"), Span(words, "dim"), Span(f"  not here: {clean(why_not, plain)}", "dim"))
    return (Span(lead, "key"), Span(words))


def help_lines(console: Console) -> list[Line]:
    """In two sections: what changes something, what does not."""
    plain = console.palette.look.ascii_only
    entries = active(console)

    def lines(chosen: list[tuple[str, str, str]]) -> list[Line]:
        return [entry_line(*entry, why_not=console.unable(entry[2]), plain=plain) for entry in chosen]

    writes = [entry for entry in entries if entry[2].partition("(")[0] in WRITES]
    reads = [entry for entry in entries if entry not in writes]
    pane = console.board.pane.title
    out: list[Line] = [
        (
            Span(
                f"In the {pane} pane. Each of these asks before anything is done (pausing does not):", "title"
            ),
        )
    ]
    out += lines(writes) or [(Span("  none: this console is read-only", "dim"),)]
    out += [(Span("Looking:", "title"),), *lines(reads)]
    fields = " ".join(f"{field}:" for field in FIELDS)
    out += [
        (Span("Filter:", "title"),),
        (Span(f"  words that must all match; {fields} look in one field; ! before a word inverts it"),),
        *((CEPH_FILTER,) if console.board is console.grid else ()),
        (Span("Command line:", "title"),),
        (
            Span(
                "  :hosts :vms :queue :events :problems :ceph NAME :ping :address ADDRESS :drain HOST :sort COLUMN :theme NAME :q   Tab completes"
            ),
        ),
        (
            Span(
                "  :window W3 shows it  :plan asks for a plan of the marked hosts  :report W3 writes the report (also html, json, O4)"
            ),
        ),
    ]
    return out
