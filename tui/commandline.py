"""What can be typed after `:`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.look import THEMES, Look, theme_or_default
from tui.panes import TABS

if TYPE_CHECKING:
    from tui.app import Console

ALIASES = {
    "host": "hosts",
    "vm": "vms",
    "server": "vms",
    "servers": "vms",
    "jobs": "queue",
    "job": "queue",
    "event": "events",
    "pings": "ping",
    "probes": "ping",
    "windows": "window",
    "plans": "window",
    "ledger": "window",
}

HOST_VERBS = ("drain", "evacuate", "maintenance", "force-down")
VM_VERBS = ("migrate", "cold-migrate", "reset-state", "move-storage", "move-across", "answer")
LOOKS = ("preflight",)
"""Verbs on a VM that change nothing."""
ADDRESS_VERBS = ("address", "forget-address")
"""Of the VM under the cursor, in the VMs pane or the ping pane."""
PLAIN = ("quit", "help", "pause", "resume", "audit", "theme", "filter", "sort", "plan")
FORMS = ("md", "html", "json")
"""Of a report."""


def completions(console: Console) -> list[str]:
    """Whole lines, panes first; verbs that change something only where they would be taken."""
    names = [tab.name for tab in TABS]
    plain = [word for word in PLAIN if word not in {"pause", "resume"} or console.store.may_write]
    words = [*names, *plain, *(f"theme {name}" for name in THEMES)]
    words += [f"ceph {name}" for name in sorted(console.store.storages)]
    words += [f"{verb} {window}" for verb in ("window", "report") for window in sorted(console.store.windows)]
    words += [f"plan {sealed[:12]}" for sealed in sorted(console.store.plans)]
    words += [f"report {order}" for order in sorted(console.store.orders)]
    words += [f"sort {column.key}" for column in console.board.pane.columns if column.sort]
    if console.store.may_write:
        hosts = sorted({host.name for host in console.store.hosts.values()})
        words += [f"{verb} {host}" for verb in HOST_VERBS for host in hosts]
        words += [f"{verb} " for verb in (*VM_VERBS, *ADDRESS_VERBS)]
    words += [f"{verb} " for verb in LOOKS]
    return words


def run_command(console: Console, line: str) -> None:
    """Do what was typed, or say why not."""
    verb, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    verb = ALIASES.get(verb, verb)
    if verb == "ceph" and rest in console.store.storages:
        console.ceph.show(rest)
    elif verb == "window" and rest.upper() in console.store.windows:
        console.windowing.show(rest.upper())
    elif verb in {tab.name for tab in TABS}:
        console.show_pane(verb)
        if rest:
            console.board.set_filter(rest.removeprefix("/"))
            console.main.redraw()
    elif verb in HOST_VERBS or verb in VM_VERBS or verb in LOOKS:
        _verb(console, verb, rest)
    elif verb in ADDRESS_VERBS:
        _address(console, verb, rest)
    elif verb in {"q", "quit", "exit"}:
        console.exit(0)
    else:
        _plain(console, verb, rest)


def _plain(console: Console, verb: str, rest: str) -> None:
    if verb == "help":
        console.doing.help()
    elif verb == "audit":
        console.doing.audit()
    elif verb in {"pause", "resume"} and console.store.may_write:
        console.doing.pause(paused=verb == "pause")
    elif verb == "plan":
        _plan(console, rest)
    elif verb == "report":
        console.windowing.report(*_subject_and_form(rest))
    elif verb == "filter":
        console.board.set_filter(rest)
        console.main.redraw()
    elif verb == "sort":
        _sort(console, rest)
    elif verb == "theme":
        _theme(console, rest)
    else:
        console.say(f"There is no command {verb!r} here. Try help, or Tab after the first letters.", "warn")


def _plan(console: Console, beginning: str) -> None:
    """Of the marked hosts; or one that is kept, by the beginning of its hash."""
    found = [sealed for sealed in console.store.plans if beginning and sealed.startswith(beginning)]
    if len(found) == 1:
        console.planning.open(found[0])
    elif beginning:
        console.say(f"{len(found) or 'No'} plans begin with {beginning!r}: 8 lists them.", "warn")
    elif console.board.pane.name != "hosts":
        console.say("Mark hosts in the hosts pane (1, then space), then :plan or w.", "warn")
    else:
        console.planning.plan()


def _subject_and_form(rest: str) -> tuple[str, str]:
    """As ("W3", "html") of "w3 html"."""
    subject, _, form = rest.partition(" ")
    return subject.upper(), form.strip().lower() or FORMS[0]


def _sort(console: Console, key: str) -> None:
    columns = [column.key for column in console.board.pane.columns if column.sort]
    if key not in columns:
        console.say(f"Sort by one of: {', '.join(columns)}.", "warn")
        return
    console.board.set_sort(key)
    console.main.redraw()


def _theme(console: Console, name: str) -> None:
    theme, complaint = theme_or_default(name)
    if complaint or not name:
        console.say(complaint or f"Themes: {', '.join(THEMES)}.", "warn")
        return
    console.use_look(Look(ascii_only=console.palette.look.ascii_only, theme=theme))


def _address(console: Console, verb: str, address: str) -> None:
    if not console.store.may_write:
        console.say("This console is read-only; nothing can be changed from it.", "warn")
    elif verb == "address":
        console.pinging.type_address(address)
    else:
        console.pinging.forget_address(address)


def _verb(console: Console, verb: str, name: str) -> None:
    if verb not in LOOKS and not console.store.may_write:
        console.say("This console is read-only; nothing can be changed from it.", "warn")
        return
    pane = "hosts" if verb in HOST_VERBS else "vms"
    rows = console.store.table(pane)
    cluster, slash, short = name.partition("/")
    keys = [
        key
        for key, row in rows.items()
        if name in (row.name, row.id) or (slash and row.cluster == cluster and row.name == short)
    ]
    if name and len(keys) != 1:
        what = "No" if not keys else f"{len(keys)}"
        hint = "" if not keys else " Write CLUSTER/NAME."
        console.say(f"{what} {pane} named exactly {name!r}.{hint}", "warn")
        return
    console.show_pane(pane)
    if name:
        board = console.board
        if not board.go_to(keys[0]):
            board.set_filter("")
            board.go_to(keys[0])
        console.main.redraw()
    console.doing.verb(verb)
