"""A report as one HTML file that needs nothing else: no script, no font, no picture, nothing from elsewhere. Pure.

It prints on A4, and its own policy forbids whatever a browser might be talked into loading.
"""

from __future__ import annotations

from html import escape

from evac.harmless import harmless
from evac.report_blocks import Alarm, Block, Code, Facts, Heading, Para, blocks
from evac.report_nouns import Report
from evac.report_words import Table

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

STYLE = """
:root{color-scheme:light}
body{font:14px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;margin:2rem auto;max-width:110rem;padding:0 1.25rem}
h1{font-size:1.5rem;margin:0 0 1rem}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #999}
h1,td,dd,li,code{overflow-wrap:anywhere}
.alarm{border:2px solid #a40000;background:#fff4f2;padding:.6rem 1rem;margin:0 0 1rem;list-style:none;font-weight:700}
.alarm li::before{content:"! ";color:#a40000}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:0}dt{color:#555}dd{margin:0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.25rem .55rem;border-bottom:1px solid #ddd}
th{background:#f2f2f2;border-bottom:1px solid #999;white-space:nowrap}
td{white-space:nowrap}td.w{white-space:normal;min-width:11rem}
tr.bad td{background:#fff4f2}
tr.odd td{background:#fffbe8}
code{font:13px/1.4 ui-monospace,monospace;background:#f4f4f4;padding:.5rem .7rem;display:block}
@media print{body{margin:0;max-width:none;font-size:9px}th,td{padding:.1rem .25rem}thead{display:table-header-group}
tr,dl,.alarm{break-inside:avoid}h2{break-after:avoid}.wide{overflow:visible}th{white-space:normal}td.w{min-width:0}
@page{size:A4 landscape;margin:12mm}}
"""

BAD = ("failed", "unknown", "OWED (", "NO", "needs you", "over the limit")
ODD = ("cancelled", "skipped", "held", "not measured")
"""First words of cells for which a row is tinted. The tint only repeats what the words say."""


NARROW = 28
"""Characters of a cell that are not folded: a figure, or a name as most are."""


def html(report: Report) -> str:
    """The whole report."""
    title = _safe(f"{report.id} {report.title}")
    body = "\n".join(_block(block) for block in blocks(report))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _safe(text: str) -> str:
    return escape(harmless(text), quote=True)


def _block(block: Block) -> str:
    match block:
        case Heading(text=text, level=level):
            return f"<h{level}>{_safe(text)}</h{level}>"
        case Alarm(lines=lines):
            return f'<ul class="alarm">{"".join(f"<li>{_safe(line)}</li>" for line in lines)}</ul>'
        case Facts(rows=rows):
            inner = "".join(f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in rows)
            return f"<dl>{inner}</dl>"
        case Para(text=text):
            return f"<p>{_safe(text)}</p>"
        case Code(lines=lines):
            return f"<code>{'<br>'.join(_safe(line) for line in lines)}</code>"
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    head = "".join(f"<th>{_safe(column)}</th>" for column in table.columns)
    rows = "\n".join(_row(row) for row in table.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>'


def _row(cells: tuple[str, ...]) -> str:
    # The first cell is a name, and names may be anything.
    bad = any(cell.startswith(BAD) for cell in cells[1:])
    odd = any(cell.startswith(ODD) for cell in cells[1:])
    tone = ' class="bad"' if bad else ' class="odd"' if odd else ""
    return f"<tr{tone}>{''.join(map(_cell, cells))}</tr>"


def _cell(text: str) -> str:
    wide = ' class="w"' if len(text) > NARROW else ""
    return f"<td{wide}>{_safe(text)}</td>"
