"""Which SOAP methods may leave this machine. Data, so that it can be read and tested on its own.

The name is taken from the message as it would go over the wire, below pyvmomi: not from what a caller says of it.
"""

from __future__ import annotations

import re
from enum import Enum

READS = frozenset(
    {
        # the session
        "RetrieveServiceContent",
        "Login",
        "Logout",
        "CurrentTime",
        # the property collector and what it needs: objects of the session's own, which end with it
        "CreateContainerView",
        "DestroyView",
        "CreatePropertyCollector",
        "DestroyPropertyCollector",
        "CreateFilter",
        "RetrievePropertiesEx",
        "ContinueRetrievePropertiesEx",
        "WaitForUpdatesEx",
        # questions that change nothing
        "HasPrivilegeOnEntities",
        "CheckRelocate_Task",
        "QueryConfigOptionDescriptor",
        "RecommendHostsForVm",
        "CreateCollectorForTasks",
        "ReadNextTasks",
        "DestroyCollector",
        "QueryEvents",
    }
)
"""Methods that change nothing outside the session. The checkers leave a line in vCenter's list of tasks, as looks do."""

CHANGES = frozenset(
    {
        "RelocateVM_Task",
        "PowerOnVM_Task",
        "ShutdownGuest",
        "AnswerVM",
        "EnterMaintenanceMode_Task",
        "ExitMaintenanceMode_Task",
        "CancelTask",
        "ReconfigureComputeResource_Task",
    }
)
"""The changing calls evac makes."""

_RECONFIGURE = re.compile(
    rb"<ReconfigureComputeResource_Task [^>]*><_this [^>]*>[\w.:-]+</_this><spec [^>]*\"ClusterConfigSpecEx\"[^>]*>"
    rb"<drsConfig(?: [^>]*)?><defaultVmBehavior>(?:manual|partiallyAutomated|fullyAutomated)</defaultVmBehavior>"
    rb"</drsConfig></spec><modify[^>]*>true</modify></ReconfigureComputeResource_Task>"
)
"""A cluster's config holds its rules, HA and more: only the automation level of DRS is ever sent."""

_ID = r"[\w:.%-]+"
_TAGGING = rf"/api/cis/tagging(?:/tag|/tag/{_ID}|/category/{_ID})"
_OLD_TAGGING = rf"/rest/com/vmware/cis/tagging(?:/tag|/tag/id:{_ID}|/category/id:{_ID})"
REST: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (method, re.compile(path, re.ASCII))
    for method, path in (
        ("GET", _TAGGING),
        ("GET", _OLD_TAGGING),
        ("POST", r"/api/cis/tagging/tag-association\?action=list-attached-objects-on-tags"),
        ("POST", r"/rest/com/vmware/cis/tagging/tag-association\?~action=list-attached-objects-on-tags"),
        ("POST", "/api/session|/rest/com/vmware/cis/session"),
        ("DELETE", "/api/session|/rest/com/vmware/cis/session"),
    )
)
"""All calls of vCenter's REST API that evac makes: a session of its own, and what it takes to read tags."""

_BODY = re.compile(rb"<(?:\w+:)?Body(?:\s[^>]*)?>\s*<(?:\w+:)?(\w+)[\s/>]")


class Verdict(Enum):
    """What the guard thinks of a message."""

    READS = "reads"
    CHANGES = "changes"
    """A call evac makes."""
    FOREIGN = "foreign"
    """Anything else; never sent."""


def method_of(message: bytes) -> str:
    """The method a SOAP message calls; "" when it calls none that can be seen."""
    found = _BODY.search(message)
    return found.group(1).decode() if found else ""


def may_rest(method: str, path: str) -> bool:
    """Whether a REST call, path and query as they would go over the wire, is one that reads tags."""
    return any(method == verb and pattern.fullmatch(path) for verb, pattern in REST)


def judge_message(message: bytes) -> Verdict:
    """What may be done with a message: by its method, and of one method by all that it says."""
    method = method_of(message)
    if method == "ReconfigureComputeResource_Task" and _RECONFIGURE.search(message) is None:
        return Verdict.FOREIGN
    return judge(method)


def judge(method: str) -> Verdict:
    """What may be done with a call of `method`."""
    if method in READS:
        return Verdict.READS
    return Verdict.CHANGES if method in CHANGES else Verdict.FOREIGN
