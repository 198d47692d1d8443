"""The report as it was last agreed on. `EVAC_GOLDEN=write` makes the files anew; the diff is then read by a person."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from evac.report import order_report, window_report
from evac.report_formats import FORMATS
from evac.report_nouns import Report
from evac.window.nouns import LedgerState
from tests.unit import report_rig as rig

PLACE = Path(__file__).parents[1] / "fixtures/reports"


def subjects() -> dict[str, Report]:
    window = window_report(
        rig.window(),
        rig.orders(),
        rig.frame(ledger=(rig.switched(), rig.switched(LedgerState.SWITCHED, 2))),
        plan=rig.PLAN,
        approvals=rig.APPROVALS,
    )
    order, jobs = rig.drain(rig.move(1, "O4", "db-07"), rig.move(2, "O4", "\x1b[31m<b>|*web*\u202e"))
    drain = order_report(order, jobs, rig.frame(rig.PLAIN))
    return {name: replace(report, version="0.0") for name, report in (("window", window), ("drain", drain))}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["window", "drain"])
def test_the_report_is_as_it_was_agreed_on(name: str, form: str) -> None:
    text = FORMATS[form][1](subjects()[name])
    file = PLACE / f"{name}.{form}"
    if os.environ.get("EVAC_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
