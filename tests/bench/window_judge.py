"""The judge of `tests.bench.window`: what truly happened in the worlds, against the plan, and against what evac says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backends.simulation.things import Entry
from evac.report_nouns import Moved, Report
from evac.window.nouns import Window, WindowState
from evac.window.plan import WindowPlan
from tests.bench.window_person import Person
from tests.bench.window_site import OFF_TIME, PVE, VC, Site


class Judge:
    """Of one window after the other; what was wrong is in `wrong`."""

    def __init__(self, site: Site, person: Person, hosts: Sequence[tuple[str, str]]) -> None:
        self.site, self.person, self.hosts = site, person, hosts
        self.wrong: list[str] = []
        self.moves = 0
        self.turns = 0
        self.windows = 0

    def judge(self, window: Window, plan: WindowPlan, marks: dict[str, int], report: Report) -> None:
        """`marks`: where the worlds' logs ended when the window began."""
        self.windows += 1
        if window.state is not WindowState.DONE:
            self.wrong.append(f"{window.id} ended as {window.state.value}: {window.reason}")
        self.wrong += [f"lost: {one}" for one in self.site.lost()]
        self.wrong += [f"left switched: {one}" for one in self.site.left_off()]
        self.wrong += [f"not back: {one}" for one in self.site.astray()]
        for cluster in dict.fromkeys(cluster for cluster, _ in self.hosts):
            self._moves(cluster, plan, marks[cluster], report)
            self._switches(cluster, marks[cluster], report)
        self._restarts()
        self._report(window, report)

    # --- moves ---------------------------------------------------------------------------------------------------

    def _moves(self, cluster: str, plan: WindowPlan, mark: int, report: Report) -> None:
        moved = self.site.moved(cluster, mark)
        homes = {move.vm: host.host for host in plan.hosts if host.cluster == cluster for move in host.moves}
        self.moves += sum(len(places) for places in moved.values())
        self.wrong += [f"moved unasked: {vm} of {cluster}" for vm in moved.keys() - homes.keys()]
        managed = self.site.managed() if cluster == PVE else set()
        for vm, home in homes.items():
            places = moved.get(vm, [])
            told = [one.target for one in _told(report, cluster, vm)]
            if vm in managed:
                self._by_ha(vm, home, places, told)
                continue
            if len(places) != 2 or places[-1] != home:
                self.wrong.append(f"{vm} of {cluster} went {home} → {' → '.join(places) or 'nowhere'}")
            if told != places:
                self.wrong.append(
                    f"report: {vm} of {cluster} went → {' → '.join(told)}; truly → {' → '.join(places)}"
                )

    def _by_ha(self, vm: str, home: str, places: list[str], told: list[str]) -> None:
        """HA moves its guests off a node in maintenance, and back, by itself: the queue may have been there first or not.

        What it cannot be is a guest that stayed, one that is not back, or a move that is told and did not happen.
        """
        if not 2 <= len(places) <= 4 or places[-1] != home:
            self.wrong.append(f"{vm}, under HA, went {home} → {' → '.join(places) or 'nowhere'}")
        if missing := Counter(told) - Counter(places):
            self.wrong.append(
                f"report: {vm}, under HA, is said to have gone to {sorted(missing)}; truly → {places}"
            )

    # --- switches ------------------------------------------------------------------------------------------------

    def _switches(self, cluster: str, mark: int, report: Report) -> None:
        """Each was turned to calm before anything moved, and back after everything had; once each; and that is told."""
        log = self.site.worlds[cluster].log[mark:]
        calm = self.site.calm(self.hosts).get(cluster, {})
        for name, before in self.site.before[cluster].items():
            turned = [
                (place, entry.text.removeprefix(f"{name}: "))
                for place, entry in enumerate(log)
                if entry.kind == "turned" and entry.text.startswith(f"{name}: ")
            ]
            self.turns += len(turned)
            meanwhile = calm.get(name)
            wanted = [f"{before} → {meanwhile}", f"{meanwhile} → {before}"] if meanwhile else []
            if [text for _, text in turned] != wanted:
                self.wrong.append(f"{name} of {cluster} was turned {[text for _, text in turned]}")
            elif turned and not turned[0][0] < _first_move(log) <= _last_move(log) < turned[1][0]:
                self.wrong.append(f"{name} of {cluster} was not calm while guests moved")
        told = Counter(one.name for one in report.ledger if one.cluster == cluster)
        if untold := [name for name in calm if told[name] != 1]:
            self.wrong.append(f"report: the ledger does not tell once of {untold}: {sorted(told)}")

    # --- restarts ------------------------------------------------------------------------------------------------

    def _restarts(self) -> None:
        for host, count in self.site.commands().items():
            if count > self.person.runs[host]:
                self.wrong.append(
                    f"the command was run {count} times on {host}, and asked for {self.person.runs[host]} times"
                )
        for cluster, host in self.hosts:
            machine = self.site.worlds[cluster].hosts[host].machine
            if machine.patches < self.windows or (cluster == VC and machine.boots != self.windows):
                self.wrong.append(
                    f"{host} was patched {machine.patches} times and booted {machine.boots} times"
                )

    # --- the report ----------------------------------------------------------------------------------------------

    def _report(self, window: Window, report: Report) -> None:
        say = self.wrong.append
        if not report.over or report.state != "done":
            say(f"report: {window.id} is {report.state}")
        if owed := [one.what for one in report.ledger if one.owed]:
            say(f"report: the ledger is not empty: {owed}")
        if not report.ledger:
            say("report: the ledger does not tell what was switched")
        for part in report.hosts:
            before, after = part.before, part.after
            if before is None or after is None or not before.kernel or before.kernel == after.kernel:
                told = f"{before and before.kernel}, {after and after.kernel}"
                say(f"report: the kernels of {part.name}: {told}")
            elif after.kernel != self.site.kernel(part.cluster, part.host):
                say(f"report: {part.name} runs {after.kernel}")
        skips = {(part.name, step.kind) for part in report.hosts for step in part.steps if step.skipped_why}
        if skips != {(host, "ready") for _, host in self.hosts if host == OFF_TIME}:
            say(f"report: skipped: {sorted(skips)}")


def _told(report: Report, cluster: str, vm: str) -> list[Moved]:
    """The moves of a VM that a report calls done, as they began."""
    lines = (one for one in report.moves if (one.cluster, one.vm, one.state) == (cluster, vm, "done"))
    return sorted(lines, key=lambda one: one.began.at if one.began else 0.0)


def _first_move(log: Sequence[Entry]) -> int:
    return next((place for place, entry in enumerate(log) if entry.kind == "moved"), len(log))


def _last_move(log: Sequence[Entry]) -> int:
    return max((place for place, entry in enumerate(log) if entry.kind == "moved"), default=0)
