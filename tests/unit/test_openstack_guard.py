"""What may leave this machine is decided by method, path and the shape of the body, and by nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.openstack.guard import SERVER_ACTIONS, judge
from backends.wire import Verdict

METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "MERGE", "")
SERVER = "/v2.1/servers/6f1c0b9a-0000-4000-8000-000000000001"
KNOWN = [
    *(("POST", f"{SERVER}/action", {action: None}) for action in sorted(SERVER_ACTIONS)),
    ("POST", f"/compute{SERVER}/migrations/12/action", {"force_complete": None}),
    ("DELETE", f"{SERVER}/migrations/12", None),
    ("PUT", "/v2.1/os-services/abc-1", {"status": "disabled", "disabled_reason": "x"}),
    ("PUT", "/v2.1/os-services/abc-1", {"forced_down": True}),
    ("PUT", "/ha/v1/segments/ab-1/hosts/cd-2", {"host": {"on_maintenance": True}}),
    ("PUT", "/v1/segments/ab-1/hosts/cd-2", {"host": {"on_maintenance": False}}),
    ("PATCH", "/v1/audits/ab-1", [{"op": "replace", "path": "/state", "value": "SUSPENDED"}]),
    ("PATCH", "/infra-optim/v1/audits/ab-1", [{"op": "replace", "path": "/state", "value": "ONGOING"}]),
]
SUSPEND = {"op": "replace", "path": "/state", "value": "SUSPENDED"}
FOREIGN: list[tuple[str, str, object]] = [
    ("POST", "/v2.1/servers", {"server": {}}),
    ("DELETE", SERVER, None),
    ("PUT", SERVER, {"server": {"name": "x"}}),
    ("POST", f"{SERVER}/action", {"forceDelete": None}),
    ("POST", f"{SERVER}/action", {"os-migrateLive": {}, "forceDelete": None}),
    ("POST", f"{SERVER}/action", {}),
    ("POST", f"{SERVER}/action/x", {"os-stop": None}),
    ("PUT", f"{SERVER}/action", {"os-stop": None}),
    ("DELETE", f"{SERVER}/migrations/12/x", None),
    ("DELETE", f"{SERVER}/migrations/12", {"x": 1}),
    ("PUT", "/v2.1/os-services/abc-1", {"status": "disabled", "host": "x"}),
    ("PUT", "/v2.1/os-services/abc-1", {}),
    ("DELETE", "/v2.1/os-services/abc-1", None),
    ("PUT", "/v1/segments/ab-1/hosts/cd-2", {"host": {"on_maintenance": True, "reserved": True}}),
    ("PUT", "/v1/segments/ab-1/hosts/cd-2", {"host": {"reserved": True}}),
    ("PUT", "/v1/segments/ab-1/hosts/cd-2", {"host": {"on_maintenance": True}, "x": {}}),
    ("PUT", "/v1/segments/ab-1/hosts/cd-2", {"host": {"on_maintenance": "yes"}}),
    ("PUT", "/v1/segments/ab-1/hosts/cd-2", {}),
    ("PUT", "/v1/segments/ab-1", {"segment": {"enabled": False}}),
    ("POST", "/v1/segments/ab-1/hosts", {"host": {"on_maintenance": True}}),
    ("DELETE", "/v1/segments/ab-1/hosts/cd-2", None),
    ("POST", "/v1/notifications", {"notification": {}}),
    ("PATCH", "/v1/audits/ab-1", [SUSPEND, SUSPEND]),
    ("PATCH", "/v1/audits/ab-1", [SUSPEND, {"op": "replace", "path": "/auto_trigger", "value": True}]),
    ("PATCH", "/v1/audits/ab-1", [SUSPEND | {"value": "CANCELLED"}]),
    ("PATCH", "/v1/audits/ab-1", [SUSPEND | {"path": "/interval", "value": "60"}]),
    ("PATCH", "/v1/audits/ab-1", [SUSPEND | {"op": "remove"}]),
    ("PATCH", "/v1/audits/ab-1", [SUSPEND | {"more": 1}]),
    ("PATCH", "/v1/audits/ab-1", SUSPEND),
    ("PATCH", "/v1/audits/ab-1", []),
    ("PATCH", "/v1/audits/ab-1/x", [SUSPEND]),
    ("PATCH", "/v1/audits", [SUSPEND]),
    ("PUT", "/v1/audits/ab-1", [SUSPEND]),
    ("POST", "/v1/audits", {"goal": "x"}),
    ("DELETE", "/v1/audits/ab-1", None),
    ("PATCH", "/v1/action_plans/ab-1", [SUSPEND]),
    ("PATCH", "/v1/action_plans/ab-1", [SUSPEND | {"value": "CANCELLING"}]),
    ("POST", "/v1/action_plans/ab-1/start", None),
    ("POST", "/v1/webhooks/ab-1", {}),
    ("POST", "/v3/auth/tokens/x", {}),
    ("DELETE", "/v3/auth/tokens", None),
    ("POST", "/v3/users", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), KNOWN)
def test_the_calls_evac_makes_change_something(method: str, path: str, body: object) -> None:
    assert judge(method, path, None if body is None else json.dumps(body)) is Verdict.CHANGES


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
def test_whatever_else_the_sdk_could_send_is_foreign(method: str, path: str, body: object) -> None:
    assert judge(method, path, None if body is None else json.dumps(body).encode()) is Verdict.FOREIGN


@pytest.mark.parametrize("prefix", ["", "/identity", "/keystone/public"])
def test_a_token_may_be_asked_for(prefix: str) -> None:
    assert judge("POST", f"{prefix}/v3/auth/tokens", b"{}") is Verdict.READS


@given(
    method=st.sampled_from(METHODS),
    path=st.text(max_size=40),
    body=st.none() | st.binary(max_size=40) | st.text(max_size=40),
)
def test_no_other_method_on_any_path_with_any_body_ever_passes_as_a_read(
    method: str, path: str, body: bytes | str | None
) -> None:
    verdict = judge(method, path, body)
    assert verdict is not Verdict.READS or path.endswith("/v3/auth/tokens")


@given(path=st.text(max_size=40), body=st.none() | st.binary(max_size=40))
def test_a_get_is_a_read(path: str, body: bytes | None) -> None:
    assert judge("GET", path, body) is Verdict.READS
    assert judge("HEAD", path, body) is Verdict.READS
