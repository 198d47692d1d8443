"""Moves to another cluster: the credential is in memory only, and what arrived is seen on both."""

from __future__ import annotations

from evac.across import LIFE, MOST, Credential, Vault
from evac.secret import REDACTOR


def test_a_credential_shows_its_user_only_and_no_log_keeps_its_secret() -> None:
    held = Credential(user="root@pam", secret="s3cret-of-the-target")
    assert "s3cret" not in f"{held!r} {held} {[held]}"
    Vault().put(held)
    assert REDACTOR("password s3cret-of-the-target") == "password [secret]"


def test_a_credential_is_had_by_its_handle_until_it_expires_or_is_dropped() -> None:
    at = 100.0
    vault = Vault(now=lambda: at)
    held = Credential(user="u", secret="hunter-2")
    handle, life = vault.put(held)
    other, _ = vault.put(held)
    assert life == LIFE
    assert vault.get(handle) is held
    vault.drop(handle)
    assert vault.get(handle) is None
    at += LIFE - 1
    assert vault.get(other) is held
    at += 1
    assert vault.get(other) is None
    assert Vault().get(other) is None, "another engine knows of none"


def test_no_more_credentials_are_kept_than_anybody_needs() -> None:
    vault = Vault()
    handles = [vault.put(Credential(user="u", secret=f"secret-{n}"))[0] for n in range(MOST + 1)]
    assert vault.get(handles[0]) is None
    assert vault.get(handles[-1]) is not None
