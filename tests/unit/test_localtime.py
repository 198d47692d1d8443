"""The local time zone is told by its name, and no name can make evac read a file that is no time zone."""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.localtime import UTC_ZONE, local_zone, zone_of

SUMMER, WINTER = 1_782_864_000.0, 1_796_083_200.0
"""2026-07-01 and 2026-12-01, 00:00 UTC."""


def test_a_zone_knows_its_summer_and_its_winter() -> None:
    berlin = zone_of("Europe/Berlin")
    assert [berlin.local(at).hour for at in (SUMMER, WINTER)] == [2, 1]


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "Zulu"])
def test_every_name_of_utc_is_utc(name: str) -> None:
    assert zone_of(name) is UTC_ZONE


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "", "a\0b", "x" * 5_000, "Europe"]
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        zone_of(name)


def test_the_machine_s_zone_is_that_of_tz_else_of_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Asia/Tokyo")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert local_zone(link).name == "Europe/Berlin"
    monkeypatch.delenv("TZ")
    assert local_zone(link).name == "Asia/Tokyo"


def test_a_machine_that_does_not_name_its_zone_tells_its_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "XYZ-05:30")
    time.tzset()
    try:
        zone = local_zone(tmp_path / "none")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert zone.name == "UTC+05:30"
    assert zone.local(WINTER).hour == 5
