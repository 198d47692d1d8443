"""What may be changed in the simulated Ceph: flags, and whether OSDs are in."""

from __future__ import annotations

from backends.ceph.simulator_answers import Command, Context, Handler, Refused, Told, word, words
from backends.simulation.ceph import FLAGS, GROUP_FLAGS


def _group(context: Context, command: Command, *, on: bool) -> object:
    ceph = context.ceph
    flags = [flag for text in words(command, "flags") for flag in text.split(",")]
    for flag in flags:
        if flag not in GROUP_FLAGS:
            raise Refused(22, f"unrecognized flag '{flag}', must be one of {{noup,nodown,noin,noout}}")
    who = words(command, "who")
    classes = {osd.device_class for osd in ceph.osds.values()}
    for name in who:
        number = name.removeprefix("osd.")
        known = (
            int(number) in ceph.osds if number.isdecimal() else name in ceph.crush.names or name in classes
        )
        if not known:
            raise Refused(22, f'unable to parse osd id or crush node or device class: "{name}". ')
    ceph.set_group(flags, who, on=on)
    return Told(None)


def _flag(context: Context, command: Command, *, on: bool) -> object:
    flag = word(command, "key")
    if flag not in FLAGS:
        raise Refused(22, f"Invalid command: {flag} not in {'|'.join(sorted(FLAGS))}")
    context.ceph.set_flag(flag, on=on)
    return Told(None, f"{flag} is {'set' if on else 'unset'}")


def _each(context: Context, command: Command, word_: str) -> object:
    ceph = context.ceph
    for text in words(command, "ids"):
        bare = text.removeprefix("osd.")
        if not bare.isdecimal() or int(bare) not in ceph.osds:
            raise Refused(2, f"osd.{bare} does not exist.")
        (ceph.mark_out if word_ == "out" else ceph.mark_in)(int(bare))
    return Told(None, f"marked {word_} osd(s)")


MON: dict[str, Handler] = {
    "osd set-group": lambda context, command: _group(context, command, on=True),
    "osd unset-group": lambda context, command: _group(context, command, on=False),
    "osd set": lambda context, command: _flag(context, command, on=True),
    "osd unset": lambda context, command: _flag(context, command, on=False),
    "osd out": lambda context, command: _each(context, command, "out"),
    "osd in": lambda context, command: _each(context, command, "in"),
}
