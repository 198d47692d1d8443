"""What `evac doctor` says of [notify]: could a notice be sent? Nothing is sent; `evac notify test` does that."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from evac.config import Config
from evac.model import Finding
from evac.notify_ways import wrong_address
from evac.secret import Secrets, SecretTrouble

TRY = "evac notify test"


def notices(config: Config) -> Iterator[Finding]:
    """One line for each way out."""
    rules = config.notify
    if not rules.ways:
        yield Finding(
            check="hooks",
            ok=None,
            detail="none: nobody is told when a window or a drain needs somebody",
            fix="Give [notify] a command or a webhook.",
        )
    if rules.command:
        yield _command(rules.command[0])
    if rules.webhook:
        yield _webhook(config)


def _command(name: str) -> Finding:
    found = shutil.which(name) is not None
    return Finding(
        check="command",
        ok=found,
        detail=f"{name} is there; `{TRY}` runs it" if found else f"{name} is no program here",
        fix="" if found else "Correct command in [notify].",
    )


def _webhook(config: Config) -> Finding:
    folder = config.file.parent
    try:
        why = wrong_address(Secrets(config_dir=folder)(config.notify.webhook).strip())
    except SecretTrouble as trouble:
        problem = trouble.problem
        return Finding(check="webhook", ok=False, detail=problem.happened, fix=problem.next_step)
    bundle = config.notify.cacert
    if not why and bundle and not (folder / bundle).expanduser().is_file():
        why = f"there is no CA bundle {bundle}"
    return Finding(
        check="webhook",
        ok=not why,
        detail=why or f"its address is known; `{TRY}` posts to it",
        fix="Correct [notify]." if why else "",
    )
