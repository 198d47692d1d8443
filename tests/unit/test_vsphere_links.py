"""What evac says of the way vMotion takes: the MTU of both adapters, and of the switches below them."""

from __future__ import annotations

from typing import Any

import pytest

from backends.vsphere.scene import Place
from evac.model import Outlook
from tests.unit.test_vsphere_rules import said
from tests.unit.vsphere_rows import place, scene

OK, RISK, FAIL, UNKNOWN = Outlook.OK, Outlook.RISK, Outlook.FAIL, Outlook.UNKNOWN


def adapter(mtu: int | None, *, dvs: str = "") -> str:
    """netConfig of one adapter for vMotion."""
    size = f"<mtu>{mtu}</mtu>" if mtu else ""
    port = f"<distributedVirtualPort><switchUuid>{dvs}</switchUuid></distributedVirtualPort>" if dvs else ""
    spec = f"<spec>{size}{port}<netStackInstanceKey>vmotion</netStackInstanceKey></spec>"
    group = "" if dvs else "<portgroup>vMotion</portgroup>"
    return (
        f"<VirtualNicManagerNetConfig><nicType>vmotion</nicType><candidateVnic><device>vmk1</device><key>v.vmk1</key>{group}"
        f"{spec}</candidateVnic><selectedVnic>v.vmk1</selectedVnic></VirtualNicManagerNetConfig>"
    )


def host(number: int, mtu: int | None, switch: int | None = None, *, dvs: str = "") -> Place:
    """`switch`: MTU of what the adapter hangs on."""
    told: dict[str, Any] = {"config__virtualNicManagerInfo__netConfig": adapter(mtu, dvs=dvs)}
    if switch and dvs:
        told["config__network__proxySwitch"] = (
            f"<HostProxySwitch><dvsUuid>{dvs}</dvsUuid><dvsName>dvs-prod</dvsName><mtu>{switch}</mtu></HostProxySwitch>"
        )
    elif switch:
        told["config__network__portgroup"] = (
            "<HostPortGroup><vswitch>key-1</vswitch><spec><name>vMotion</name><vlanId>0</vlanId></spec></HostPortGroup>"
        )
        told["config__network__vswitch"] = (
            f"<HostVirtualSwitch><name>vSwitch1</name><key>key-1</key><mtu>{switch}</mtu></HostVirtualSwitch>"
        )
    return place(number, **told)


@pytest.mark.parametrize(
    ("here", "there", "outlook", "words"),
    [
        (host(1, 9000, 9000), host(2, 9000, 9000), OK, ""),
        (host(1, None), host(2, 1500, 9000), OK, ""),
        (host(1, 9000, 9000), host(2, 1500, 9000), RISK, "9000 on vmk1 of esx1, 1500 on vmk1 of esx2"),
        (host(1, 9000, 9000), host(2, 9000, 1500), FAIL, "vSwitch1 of esx2 takes 1500 bytes"),
        (host(1, 9000, 1500, dvs="50 2a"), host(2, 9000), FAIL, "dvs-prod of esx1 takes 1500 bytes"),
        (host(1, 9000, 1500), host(2, 1500, 1500), RISK, "differs"),
        (host(1, 9000), place(2, config__virtualNicManagerInfo__netConfig=""), UNKNOWN, "not told"),
    ],
)
def test_the_mtu_of_adapters_and_switches(here: Place, there: Place, outlook: Outlook, words: str) -> None:
    """A smaller adapter at one end spares the switch at the other: TCP sends no more than both take."""
    found = said(scene(target=there, of_source=here), "mtu")
    assert found[0] is outlook
    assert words in found[1]


def test_of_a_vm_that_is_off_nothing_goes_over_vmotion() -> None:
    of = scene(target=host(2, 1500), of_source=host(1, 9000), runtime__powerState="poweredOff")
    assert said(of, "mtu")[0] is OK
