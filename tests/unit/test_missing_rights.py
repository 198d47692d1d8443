"""A read whose right is missing costs the rest nothing, and is told as long as it is missing, where that is worth a word."""

from __future__ import annotations

from backends.rights import Rights
from evac.errors import Forbidden
from evac.model import Problem


class Door:
    """A read that may be refused."""

    def __init__(self, privilege: str) -> None:
        self.refused, self.asked = privilege, 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.refused:
            raise Forbidden(Problem(happened=f"{self.refused} is missing", next_step="Grant it."))
        return "read"


async def test_a_refused_read_is_told_each_time_and_not_asked_for_again_at_once() -> None:
    rights, door = Rights({"rules": "Rules are not known."}), Door("Sys.Audit")
    for _ in range(3):
        assert await rights.read(door, "instead", "rules") == "instead"
        (problem,) = rights.problems()
        assert problem.unaffected == "Rules are not known. Everything else goes on."
        assert (problem.severity, problem.next_step) == ("warning", "Grant it.")
    assert door.asked == 1


async def test_what_only_decorates_is_left_out_without_a_word() -> None:
    rights = Rights({"aggregates": ""})
    assert await rights.read(Door("list"), "instead", "aggregates") == "instead"
    assert rights.problems() == []


async def test_one_privilege_that_several_reads_lack_is_told_once() -> None:
    rights = Rights({"rules": "No rules.", "details": "No details."})
    for right, node in (("rules", ""), ("details", "pve1"), ("details", "pve2")):
        await rights.read(Door("Sys.Audit"), "", right, of=node)
    assert [one.happened for one in rights.problems()] == ["Sys.Audit is missing"]


async def test_a_read_that_is_answered_is_no_problem() -> None:
    rights = Rights({"rules": "No rules."})
    assert await rights.read(Door(""), "instead", "rules") == "read"
    assert rights.problems() == []
