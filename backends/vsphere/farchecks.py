"""Whether a move to another vCenter would work, by this vCenter's own checker. Blocking.

Of its questions only CheckRelocate_Task takes a RelocateSpec, and so a ServiceLocator (vSphere Web Services API,
VirtualMachineProvisioningChecker: CheckMigrate_Task and QueryVMotionCompatibilityEx_Task take hosts of this vCenter). The
spec is the one that the move would be sent with: vCenter logs in at the other one for its answer, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from backends.vsphere import answers, crossing, sdk
from backends.vsphere.arrival import Arrival, Arrivals
from backends.vsphere.placing import Places
from backends.vsphere.reading import Reader
from backends.vsphere.session import Live, Session
from evac.across import Credential, Crossing
from evac.errors import Refused
from evac.model import MoveCheck, Outlook

PATIENCE = 10.0
"""Seconds for all answers; before them both vCenters are read, and who asks waits for all of it."""


class FarChecker:
    """Of a fresh look at both."""

    def __init__(self, session: Session, reader: Reader, places: Places, arrivals: Arrivals) -> None:
        self._session, self._reader, self._places, self._arrivals = session, reader, places, arrivals

    def __call__(
        self, vm: str, going: Crossing, targets: Sequence[str], credential: Credential
    ) -> list[MoveCheck]:
        """Every target is spoken of.

        Raises:
            BackendError: neither side could be looked at, or the VM cannot leave at all.
        """
        hosts = list(dict.fromkeys(targets))
        what = f"the check of {vm} for {going.destination.cluster}"

        def leaving(live: Live) -> crossing.Leaving:
            return crossing.leaving(live, self._reader, self._places, vm, going.destination)

        with crossing.hiding(self._session, credential.secret) as hidden:
            gone = self._session.read(leaving, what)
            nets = crossing.wanted(self._session.cluster, gone, going)
            asked = hosts[: answers.MOST]
            found = self._arrivals.find(going, asked, credential, nets, gone.size)
            checks = {
                host: [_refused(vm, host, one)] for host, one in found.items() if isinstance(one, Refused)
            }
            places = {host: one for host, one in found.items() if not isinstance(one, Refused)}
            rest = [host for host in hosts if host not in checks]
            checks |= self._session.read(
                lambda live: self._asked(live, gone, places, rest, going, credential), what
            )
            told = [check for host in hosts for check in checks[host]]
            return [replace(check, why=hidden(check.why), fix=hidden(check.fix)) for check in told]

    def _asked(  # noqa: PLR0917 - the ends of one move
        self,
        live: Live,
        gone: crossing.Leaving,
        places: dict[str, Arrival],
        hosts: list[str],
        going: Crossing,
        credential: Credential,
    ) -> dict[str, list[MoveCheck]]:
        def begin(checker: Any, host: str) -> Any:
            spec = crossing.spec(live, gone, places[host], going.destination, credential)
            return checker.CheckRelocate_Task(sdk.vim.VirtualMachine(gone.guest.id, live.stub), spec, None)

        return answers.asked(self._reader, live, gone.guest.id, hosts, begin, patience=PATIENCE)


def _refused(vm: str, host: str, refused: Refused) -> MoveCheck:
    """Evac itself would not send the move there."""
    why = f"vCenter was not asked: {refused.problem.happened.rstrip('.')}"
    return MoveCheck(
        vm=vm, target=host, outlook=Outlook.FAIL, rule=answers.RULE, why=why, fix=refused.problem.next_step
    )
