"""The filter's grammar: `host:cmp-07 state:error !tag:db web`.

Words are separated by spaces and must all match; `!` before a word inverts it; `host:`, `state:`, `cluster:`, `tag:`,
`name:`, `id:`, `question:` (what a platform asks about a VM), `container:` (yes or no), `rack:`, `class:` and `pool:` look in
one field, everything else in the whole row. Ids are searched by words of eight
letters and more, such as a pasted UUID: short ones ("db", "fe") occur in too many of them. Quotes keep spaces, and a
field's value in quotes is matched whole: `host:"cmp-1"` does not find cmp-10. Nothing is an error: a half-typed filter is
what a person looks at while typing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from msgspec import Struct

FIELDS = (
    "host", "state", "cluster", "tag", "name", "id", "question", "container", "rack", "class", "pool",
)  # fmt: skip

_NAMES = {"class": "device_class"}
"""Fields whose word is none that Python allows for a name."""

_WORD = re.compile(r'(!?)(?:([a-zA-Z]+):)?(?:"([^"]*)("?)|(\S*))')


class Haystack(Struct, frozen=True):
    """A row prepared for searching: everything in lower case, joined once when the row changes."""

    whole: str
    host: str = ""
    state: str = ""
    cluster: str = ""
    tag: str = ""
    name: str = ""
    id: str = ""
    rack: str = ""
    device_class: str = ""
    pool: str = ""
    question: str = ""
    container: str = ""
    deep: str = ""
    """Hexadecimal ids: searched by long words only."""


DEEP = 8
"""Letters from which on a word is looked for in ids too: the first group of a UUID."""


class Term(Struct, frozen=True, kw_only=True):
    """One word of a filter."""

    text: str
    field: str = "whole"
    inverse: bool = False
    whole: bool = False
    """The text with nothing but blanks around it."""

    def matches(self, hay: Haystack) -> bool:
        """Whether the row passes this word."""
        if self.whole:
            return (f" {self.text} " in f" {getattr(hay, self.field)} ") is not self.inverse
        found = self.text in getattr(hay, self.field)
        if not found and self.field == "whole" and len(self.text) >= DEEP:
            found = self.text in hay.deep
        return found is not self.inverse


@lru_cache(maxsize=256)
def parse(text: str) -> tuple[Term, ...]:
    """The words of a filter; a word without content is still being typed and matches everything."""
    terms: list[Term] = []
    for match in _WORD.finditer(text):
        bang, field, quoted, closed, bare = match.groups()
        content = (quoted if quoted is not None else bare or "").lower()
        name = (field or "").lower()
        if field and name not in FIELDS:
            content, name = f"{name}:{content}", ""
        if content:
            exact = bool(name and closed)
            attribute = _NAMES.get(name, name) or "whole"
            terms.append(Term(text=content, field=attribute, inverse=bool(bang), whole=exact))
    return tuple(terms)


def matcher(text: str) -> Callable[[Haystack], bool] | None:
    """A test for rows; None when everything passes."""
    return matcher_of(parse(text))


def matcher_of(terms: Sequence[Term]) -> Callable[[Haystack], bool] | None:
    """The same for words already parsed."""
    if not terms:
        return None
    if len(terms) == 1:
        return terms[0].matches
    return lambda hay: all(term.matches(hay) for term in terms)


def hits(rows: dict[str, Haystack], text: str) -> list[str]:
    """Keys of the rows that pass, in the mapping's order. The plain one-word case is one comprehension."""
    terms = parse(text)
    if not terms:
        return list(rows)
    if len(terms) == 1 and terms[0].field == "whole" and len(terms[0].text) < DEEP:
        needle, inverse = terms[0].text, terms[0].inverse
        return [key for key, hay in rows.items() if (needle in hay.whole) is not inverse]
    return [key for key, hay in rows.items() if all(term.matches(hay) for term in terms)]
