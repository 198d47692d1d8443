"""Which SOAP methods leave this machine is decided by the message itself, below pyvmomi."""

from __future__ import annotations

import re
from typing import Any

import pytest

from backends.vsphere import guard, messages, sdk
from backends.vsphere.guard import CHANGES, READS, Verdict, judge, judge_message, may_rest, method_of


def sent(call: Any) -> bytes:
    """The message pyvmomi makes of a call."""
    messages: list[bytes] = []

    def post(message: bytes, _: str) -> tuple[int, bytes]:
        messages.append(message)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        call(sdk.Stub("vim.version.v8_0_3_0", post))
    return messages[0]


def test_the_method_is_read_from_the_message_that_pyvmomi_makes() -> None:
    vim = sdk.vim
    message = sent(lambda stub: vim.VirtualMachine("vm-1", stub).PowerOff())
    assert method_of(message) == "PowerOffVM_Task"
    assert judge("PowerOffVM_Task") is Verdict.FOREIGN
    message = sent(lambda stub: vim.VirtualMachine("vm-1", stub).RelocateVM_Task(vim.vm.RelocateSpec()))
    assert judge(method_of(message)) is Verdict.CHANGES


def reconfigured(modify: bool = True, **spec: Any) -> bytes:
    config = sdk.vim.cluster.ConfigSpecEx(**spec)
    cluster = "domain-c8"
    return sent(
        lambda stub: sdk.vim.ClusterComputeResource(cluster, stub).ReconfigureComputeResource_Task(
            config, modify
        )
    )


def test_of_a_clusters_config_only_the_level_of_drs_is_sent() -> None:
    """The same method could delete all rules, or turn HA off."""
    vim = sdk.vim.cluster
    level = vim.DrsConfigInfo(defaultVmBehavior="partiallyAutomated")
    assert judge_message(reconfigured(drsConfig=level)) is Verdict.CHANGES
    rule = vim.RuleSpec(operation="remove", removeKey=1)
    for foreign in (
        reconfigured(modify=False, drsConfig=level),
        reconfigured(drsConfig=level, rulesSpec=[rule]),
        reconfigured(drsConfig=level, dasConfig=vim.DasConfigInfo(enabled=False)),
        reconfigured(drsConfig=vim.DrsConfigInfo(enabled=False)),
        reconfigured(drsConfig=vim.DrsConfigInfo(enabled=False, defaultVmBehavior="manual")),
        reconfigured(rulesSpec=[rule]),
    ):
        assert judge_message(foreign) is Verdict.FOREIGN
    other = sent(lambda stub: sdk.vim.VirtualMachine("vm-1", stub).PowerOff())
    assert judge_message(other) is Verdict.FOREIGN


def test_a_property_of_a_managed_object_is_no_way_round_it() -> None:
    """pyvmomi turns `vm.name` into a call of its own; evac never uses that, so it is not let through."""
    assert judge(method_of(sent(lambda stub: sdk.vim.VirtualMachine("vm-1", stub).name))) is Verdict.FOREIGN


def test_our_own_messages_are_reads() -> None:
    walk = messages.Walk("ContainerView", "v", "view")
    spec = messages.filter_spec([("VirtualMachine", "vm-1")], [walk], {"VirtualMachine": ["name"]})
    ours = (
        messages.retrieve("pc", spec, 10),
        messages.more("pc", "t"),
        messages.create_filter("pc", spec),
        messages.wait("pc", "", seconds=0, page=1),
    )
    assert all(judge(method_of(message)) is Verdict.READS for message in ours)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"garbage",
        b"<soapenv:Body></soapenv:Body>",
        b"<e:Body><!-- PowerOnVM_Task --><Destroy_Task/></e:Body>",
        b"<Envelope><Body>\n  <Destroy_Task xmlns='urn:vim25'/></Body></Envelope>",
    ],
)
def test_what_cannot_be_read_is_foreign(message: bytes) -> None:
    assert judge(method_of(message)) is Verdict.FOREIGN


def test_the_lists_hold_methods_the_api_has_and_nothing_in_both() -> None:
    assert not READS & CHANGES
    known = set(re.findall(rb'"(\w+)"', b"")) | methods()
    assert (READS | CHANGES) - known == set()
    words = ("Destroy", "Delete", "Remove", "PowerOff", "Reset", "Unregister", "Terminate")
    assert not [name for name in CHANGES if name.startswith(words)]
    assert guard.READS & {"DestroyView", "DestroyPropertyCollector", "DestroyCollector"} == {
        name for name in READS if name.startswith(words)
    }


def test_of_vcenters_checkers_one_question_leaves_and_of_its_environment_one() -> None:
    """A preflight is a look: the one checker takes a move within this vCenter and one to another."""
    of = {name: wsdl_names(name) for name in ("vim.vm.check.ProvisioningChecker", "vim.EnvironmentBrowser")}
    assert of["vim.vm.check.ProvisioningChecker"] & READS == {"CheckRelocate_Task"}
    assert of["vim.EnvironmentBrowser"] & READS == {"QueryConfigOptionDescriptor"}
    assert not set().union(*of.values()) & CHANGES
    vim = sdk.vim
    login = vim.ServiceLocator.NamePassword(username="u", password="p")
    spec = vim.vm.RelocateSpec(
        service=vim.ServiceLocator(instanceUuid="i", url="https://far", credential=login)
    )
    machine = vim.VirtualMachine("vm-1", None)
    asked = sent(
        lambda stub: vim.vm.check.ProvisioningChecker("ProvChecker", stub).CheckRelocate_Task(
            machine, spec, None
        )
    )
    assert judge_message(asked) is Verdict.READS
    cloned = sent(
        lambda stub: vim.vm.check.ProvisioningChecker("ProvChecker", stub).CheckClone_Task(
            machine,
            vim.Folder("group-v3", None),
            "x",
            vim.vm.CloneSpec(location=spec, powerOn=False, template=False),
            None,
        )
    )
    assert judge_message(cloned) is Verdict.FOREIGN


def methods() -> set[str]:
    """The names in the WSDL of the types that evac calls."""
    types = (
        "vim.ServiceInstance",
        "vim.SessionManager",
        "vim.view.ViewManager",
        "vim.view.View",
        "vmodl.query.PropertyCollector",
        "vim.AuthorizationManager",
        "vim.vm.check.ProvisioningChecker",
        "vim.EnvironmentBrowser",
        "vim.ClusterComputeResource",
        "vim.TaskManager",
        "vim.TaskHistoryCollector",
        "vim.HistoryCollector",
        "vim.event.EventManager",
        "vim.VirtualMachine",
        "vim.HostSystem",
        "vim.Task",
    )
    return set().union(*map(wsdl_names, types))


def wsdl_names(name: str) -> set[str]:
    """Of the methods that a managed object has."""
    return {
        method.wsdlName
        for kind in sdk.named(name).__mro__
        for method in getattr(kind, "_methodInfo", {}).values()
    }


TAG = "urn:vmomi:InventoryServiceTag:5a3f-1:GLOBAL"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/session"),
        ("DELETE", "/rest/com/vmware/cis/session"),
        ("GET", "/api/cis/tagging/tag"),
        ("GET", f"/api/cis/tagging/category/{TAG}"),
        ("GET", f"/rest/com/vmware/cis/tagging/tag/id:{TAG}"),
        ("POST", "/api/cis/tagging/tag-association?action=list-attached-objects-on-tags"),
    ],
)
def test_of_rest_what_reads_tags_may_leave(method: str, path: str) -> None:
    assert may_rest(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/session"),
        ("POST", "/api/cis/tagging/tag"),
        ("DELETE", f"/api/cis/tagging/tag/{TAG}"),
        ("PATCH", f"/api/cis/tagging/tag/{TAG}"),
        ("POST", "/api/cis/tagging/tag-association?action=attach-multiple-tags-to-object"),
        ("POST", "/api/cis/tagging/tag-association?action=list-attached-objects-on-tags&action=detach"),
        ("POST", f"/api/cis/tagging/tag-association/{TAG}?action=attach"),
        ("GET", "/api/cis/tagging/tag/../../vcenter/vm"),
        ("POST", "/api/vcenter/vm/vm-1/power?action=stop"),
        ("GET", "/api/cis/tagging/tag\n"),
    ],
)
def test_of_rest_nothing_else_may(method: str, path: str) -> None:
    assert not may_rest(method, path)
