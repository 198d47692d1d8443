"""The journal's table of how long moves took, and the SQL on it. Everything here runs in the journal's own thread.

A quarterly window finds the last one's moves here although `keep_days` has forgotten its orders.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from msgspec.structs import astuple

from evac.jobs import Job
from evac.timings import Timing, timing_of

KEPT = 20_000
"""Moves, newest first: some 2 MB."""

TABLES = """
CREATE TABLE timings (
  n INTEGER PRIMARY KEY, ended REAL NOT NULL, live INTEGER NOT NULL, cluster TEXT NOT NULL, vm TEXT NOT NULL,
  source TEXT NOT NULL, target TEXT NOT NULL, took REAL NOT NULL, size INTEGER
) STRICT;
INSERT INTO timings
  SELECT n, json_extract(job, '$.ended'), json_extract(job, '$.action.kind') = 'live_migrate', cluster,
    json_extract(job, '$.action.vm'), json_extract(job, '$.action.host'),
    coalesce(json_extract(job, '$.target'), json_extract(job, '$.action.to'), ''),
    json_extract(job, '$.ended') - json_extract(job, '$.submitted'), json_extract(job, '$.progress.total')
  FROM (SELECT n, cluster, CAST(body AS TEXT) AS job FROM jobs WHERE state = 'done')
  WHERE json_extract(job, '$.action.kind') IN ('live_migrate', 'cold_migrate')
    AND json_extract(job, '$.ended') > json_extract(job, '$.submitted');
"""
"""What schema 3 added to schema 2; the moves that the journal knows already are taken over."""


def write(db: sqlite3.Connection, jobs: Iterable[Job]) -> None:
    """Within the caller's transaction; what is no move that was done is left out. Raises sqlite3.Error."""
    for job in jobs:
        timing = timing_of(job)
        if timing is not None:
            db.execute("INSERT OR REPLACE INTO timings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(timing))
            db.execute("DELETE FROM timings WHERE n <= ?", (timing.n - KEPT,))


def load(db: sqlite3.Connection) -> list[Timing]:
    """Oldest first."""
    rows = db.execute(
        "SELECT n, ended, live, cluster, vm, source, target, took, size FROM timings ORDER BY n"
    )
    return [
        Timing(
            n=n,
            ended=ended,
            live=bool(live),
            cluster=cluster,
            vm=vm,
            source=source,
            target=target,
            took=took,
            size=size,
        )
        for n, ended, live, cluster, vm, source, target, took, size in rows
    ]
