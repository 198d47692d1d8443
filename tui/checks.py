"""What is known of moving some VMs to each host, while the answers come in; and how it is told. No widget, no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from evac.api import Preflight
from evac.model import VM, MoveCheck, Outlook, Problem
from evac.preflight import NO_CHECKER, about, outlook_of, rank, worst
from tui.board import Context
from tui.intents import Caution
from tui.look import Line, Span
from tui.sheet import Field
from tui.text import clean

MOST = 20
"""VMs that are asked about for one dialog: each question goes to the cluster alone."""

WORDS: dict[Outlook, tuple[str, str, str]] = {
    Outlook.OK: ("good", "OK", "good"),
    Outlook.RISK: ("warn", "RISK", "warn"),
    Outlook.FAIL: ("bad", "WILL FAIL", "bad"),
    Outlook.UNKNOWN: ("unknown", "UNKNOWN", "warn"),
}
"""Glyph, word and tone."""


def outlook_span(outlook: Outlook, context: Context) -> Span:
    """As "✓ OK"."""
    glyph, word, tone = WORDS[outlook]
    return Span(f"{context.look.glyph(glyph)} {word}", tone)


class Checks:
    """The answers so far. `vms` are those asked about, in this order."""

    def __init__(self, vms: Sequence[VM]) -> None:
        self.vms = tuple(vms[:MOST])
        self.left_out = len(vms) - len(self.vms)
        self.answers: dict[str, Preflight] = {}
        self.failed: Problem | None = None
        """Why no further answer comes."""

    def take(self, answer: Preflight) -> None:
        """One VM's."""
        self.answers[answer.vm] = answer

    @property
    def done(self) -> bool:
        """True when nothing more will come."""
        return self.failed is not None or len(self.answers) == len(self.vms)

    def outlook(self, target: str) -> Outlook | None:
        """The worst for any of the VMs; None while that is not known. Who was not asked about is not known of."""
        said = [
            outlook_of(answer.checks, target) for answer in self.answers.values() if target in answer.targets
        ]
        if Outlook.FAIL in said:
            return Outlook.FAIL
        if self.failed is not None or (self.done and self.left_out):
            said.append(Outlook.UNKNOWN)
        return worst(said) if self.done else None

    def mark(self, target: str, context: Context) -> Span:
        """For the target's row."""
        outlook = self.outlook(target)
        if outlook is None:
            return Span(f"{context.look.glyph('wait')} asking", "dim")
        return outlook_span(outlook, context)

    def reasons(self, target: str, context: Context) -> tuple[Line, ...]:
        """Why and what to do, the worst first; by VM where there are several."""
        plain = context.look.ascii_only
        lines: list[Line] = []
        if self.failed is not None:
            words = f"could not be asked: {self.failed.happened} {self.failed.next_step}".strip()
            lines.append((Span(clean(words, plain), "warn"),))
        if self.left_out and self.done:
            lines.append((Span(f"{self.left_out} more VMs were not asked about; p asks about one", "warn"),))
        for answer in self.answers.values():
            name = f"{answer.name}: " if len(self.vms) > 1 else ""
            checks = [check for check in about(answer.checks, target) if check.outlook is not Outlook.OK]
            lines += [reason(check, context, lead=name) for check in checks]
        return tuple(lines)

    def caution(self, target: str, context: Context) -> Caution:
        """For the dialog that confirms: what is expected, and what must be typed where it is expected to fail."""
        if not target:
            return Caution()
        outlook = self.outlook(target)
        if outlook is Outlook.OK:
            return Caution()
        if outlook is None:
            glyph = context.look.glyph("unknown")
            return Caution(
                ((Span(f"{glyph} The check has not answered: whether it can move is not known.", "warn"),),)
            )
        head: Line = (
            outlook_span(outlook, context),
            Span(f"  to {clean(target, context.look.ascii_only)}:", "warn"),
        )
        fields = (
            Field(key="target", prompt=f"It WILL FAIL. Type the target's name ({target})", expect=target),
        )
        return Caution((head, *self.reasons(target, context)), fields if outlook is Outlook.FAIL else ())


def verdict(checks: Checks, target: str, context: Context) -> Caution:
    """As `Checks.caution`, and in words also where nothing stands against it: who was asked, and who was not."""
    plain = context.look.ascii_only
    every = [check for answer in checks.answers.values() for check in answer.checks]
    nobody = sorted({check.why for check in every if check.rule == NO_CHECKER})
    notes: tuple[Line, ...] = tuple((Span(clean(f"{words}.", plain), "dim"),) for words in nobody)
    if checks.outlook(target) is not Outlook.OK:
        caution = checks.caution(target, context)
        return Caution((*caution.lines, *notes), caution.fields)
    by = ", ".join(sorted({check.by for check in every if check.by}))
    words = f"  Nothing is known against it{f', by {by} and' if by else ', by'} evac's rules."
    return Caution(((outlook_span(Outlook.OK, context), Span(clean(words, plain))), *notes))


def reason(check: MoveCheck, context: Context, *, lead: str = "") -> Line:
    """One rule's word: why, what to do, who says so."""
    plain = context.look.ascii_only
    by = f" ({check.by})" if check.by else ""
    words = f"{lead}{check.why or check.rule}{by}"
    fix = (Span(f"  fix: {clean(check.fix, plain)}"),) if check.fix else ()
    return (outlook_span(check.outlook, context), Span(f"  {clean(words, plain)}"), *fix)


def told(checks: Checks, targets: Sequence[tuple[str, str]], context: Context) -> list[Line]:
    """Everything, target by target (id and name), the best first."""
    if not checks.done:
        return [(Span(f"{context.look.glyph('wait')} asking the cluster ...", "busy"),)]
    known = [(checks.outlook(ident) or Outlook.UNKNOWN, ident, name) for ident, name in targets]
    known.sort(key=lambda entry: rank(entry[0]))
    said = {
        check.why for answer in checks.answers.values() for check in answer.checks if check.rule == NO_CHECKER
    }
    lines: list[Line] = [
        (Span(clean(f"{words}.", context.look.ascii_only), "dim"),) for words in sorted(said)
    ]
    notes = dict.fromkeys(note for answer in checks.answers.values() for note in answer.notes)
    lines += [(Span(clean(note, context.look.ascii_only), "dim"),) for note in notes]
    for outlook, ident, name in known:
        lines.append(
            (Span(clean(name, context.look.ascii_only), "title"), Span("  "), outlook_span(outlook, context))
        )
        lines += [(Span("  "), *line) for line in checks.reasons(ident, context)]
    return lines or [(Span("There is no other host it could go to."),)]
