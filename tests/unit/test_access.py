"""Roles come from the kernel's word about the other end of the socket, and from the config."""

from __future__ import annotations

import grp
import os
import pwd
import socket

import pytest

from evac.access import ADMIN, REMEMBER, STRANGER, VIEWER, Access, AccessRules, identify, peer_uid

SOMEBODY = next(entry for entry in pwd.getpwall() if entry.pw_uid not in (0, os.getuid()))
THEIR_GROUP = grp.getgrgid(SOMEBODY.pw_gid).gr_name
OWNER = 4_000_000
"""A uid nobody here has."""


@pytest.mark.parametrize(
    ("uid", "rules", "role"),
    [
        (0, AccessRules(), ADMIN),
        (OWNER, AccessRules(), ADMIN),
        (SOMEBODY.pw_uid, AccessRules(), STRANGER),
        (SOMEBODY.pw_uid, AccessRules(admins=(SOMEBODY.pw_name,)), ADMIN),
        (SOMEBODY.pw_uid, AccessRules(viewers=(SOMEBODY.pw_name,)), VIEWER),
        (SOMEBODY.pw_uid, AccessRules(viewers=(f"@{THEIR_GROUP}",)), VIEWER),
        (SOMEBODY.pw_uid, AccessRules(admins=(f"@{THEIR_GROUP}",), viewers=(SOMEBODY.pw_name,)), ADMIN),
        (SOMEBODY.pw_uid, AccessRules(admins=("@no-such-group", "nobody-else")), STRANGER),
        (SOMEBODY.pw_uid, AccessRules(admins=(THEIR_GROUP + "x",)), STRANGER),
        (OWNER + 1, AccessRules(admins=(f"uid {OWNER + 2}",)), STRANGER),
    ],
)
def test_roles(uid: int, rules: AccessRules, role: str) -> None:
    assert identify(uid, rules, OWNER).role == role


def test_an_unknown_uid_has_a_name_that_can_be_shown() -> None:
    assert identify(OWNER, AccessRules(), 1).user == f"uid {OWNER}"


def test_the_sockets_group_is_the_named_one_or_the_first_in_the_lists() -> None:
    assert AccessRules(admins=("ann", "@ops"), viewers=("@noc",)).group == "ops"
    assert AccessRules(admins=("@ops",), socket_group="evac").group == "evac"
    assert not AccessRules().shared


async def test_a_role_is_believed_for_a_minute_and_then_asked_again() -> None:
    now = 1000.0
    access = Access(AccessRules(), owner=OWNER, now=lambda: now)
    try:
        first = await access.person(SOMEBODY.pw_uid)
        assert await access.person(SOMEBODY.pw_uid) is first
        now += REMEMBER + 1
        assert await access.person(SOMEBODY.pw_uid) is not first
    finally:
        access.close()


def test_the_kernel_tells_who_connected() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_uid(ours) == os.getuid()
    assert peer_uid(None) is None


def test_the_owner_needs_no_name_service_for_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """An LDAP server that hangs must not keep the owner from stopping its own engine."""

    def hangs(_user: str, _group: int) -> list[int]:
        raise AssertionError("the owner's groups were asked for")

    monkeypatch.setattr(os, "getgrouplist", hangs)
    assert identify(os.getuid(), AccessRules(admins=("@ops",)), os.getuid()).role == ADMIN
