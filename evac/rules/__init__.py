"""Rules before a move: one small function per check, nouns in, checks out, no I/O. `judge` asks all of them.

They say what the fleet's own figures and the vendors' documents lead to expect. A platform's own checker, where there is
one, is asked besides (`evac.preflight`). What nobody can determine is UNKNOWN, never OK.
"""

from evac.rules.context import RuleContext, context_of
from evac.rules.judging import judge, judge_target, judge_vm
from evac.rules.said import Said

__all__ = ["RuleContext", "Said", "context_of", "judge", "judge_target", "judge_vm"]
