"""Nothing that a cluster says can begin a line of the log of its own, or reach the terminal that shows it."""

from __future__ import annotations

import logging
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from evac.secret import RedactingFormatter, Redactor

HOSTILE = "web\n2026-01-01 INFO evac.engine: all is well\x1b[31m\r\x9b2J\u202egnp.exe\u2028x"


def formatted(message: str, *args: object, error: BaseException | None = None) -> str:
    redactor = Redactor()
    redactor.add("s3cr3t-value")
    formatter = RedactingFormatter(redactor, "%(levelname)s %(name)s: %(message)s")
    trace = (type(error), error, error.__traceback__) if error else None
    return formatter.format(logging.LogRecord("evac", logging.INFO, "x.py", 1, message, args, trace))


def test_a_hostile_name_is_written_out_on_one_line() -> None:
    line = formatted("%s moved, s3cr3t-value", HOSTILE)
    assert line.startswith(
        "INFO evac: web\\n2026-01-01 INFO evac.engine: all is well\\x1b[31m\\r\\x9b2J\\u202egnp"
    )
    assert "\n" not in line
    assert "s3cr3t" not in line


@given(st.text())
def test_no_text_makes_a_second_line_or_a_control_character(text: str) -> None:
    line = formatted("%s", text)
    assert len(line.splitlines()) == 1
    assert not any(unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} for char in line)


def test_a_trace_keeps_its_lines_but_none_that_looks_like_an_entry() -> None:
    try:
        int(f"s3cr3t-value {HOSTILE}")
    except ValueError as error:
        again = ValueError(f"s3cr3t-value {HOSTILE}").with_traceback(error.__traceback__)
        text = formatted("it failed", error=again)
    first, *trace = text.split("\n")
    assert first == "INFO evac: it failed"
    assert len(trace) > 2
    assert all(line.startswith("    ") for line in trace)
    assert "\x1b" not in text
    assert "s3cr3t" not in text


def test_plain_text_of_any_language_stays_as_it_is() -> None:
    assert formatted("%s", "Gerät 東京 mañana 🚀") == "INFO evac: Gerät 東京 mañana 🚀"
