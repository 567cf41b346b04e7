"""A study as one HTML file that needs nothing else: figures, the best trials, their masks."""

from __future__ import annotations

import base64
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from nfopt import attributes as names
from nfopt.report.masks import masks_png
from nfopt.report.publisher import figures_of
from nfopt.report.rows import columns_of, ranked, rows_of
from nfopt.stored import attributes_of, flow_of, trials_of, usable
from nfopt.study.ranking import objectives_of

if TYPE_CHECKING:
    import optuna

BEST = 10  # trials in the table
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right}"
    "td:last-child,th:last-child{text-align:left}th{border-bottom:1px solid #999}"
    "img{max-width:100%}"
)


def html_page(study: optuna.Study) -> str:
    """Write a study as HTML; the plotly library is in it, and all text from data is escaped.

    Args:
        study: One of nfopt.
    """
    known, trials = attributes_of(study), trials_of(study)
    data = known.get(names.DATA) or {}
    columns = [str(column) for column in data.get("columns", ())]
    rows = rows_of(trials, objectives_of(study))
    best_rows = list(islice((r for r in ranked(rows) if usable(trials[r[0].number])), BEST))
    flows = {row.number: flow_of(trials[row.number]) for row, _ in best_rows}
    specs = {number: flow for number, flow in flows.items() if flow is not None}
    best = best_rows[0][0] if best_rows else None
    spec = None if best is None else specs.get(best.number)
    ended = {state: sum(row.state == state for row in rows) for state in ("COMPLETE", "PRUNED")}
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(study.study_name)}"
        f"</title><style>{STYLE}</style><h1>Study {escape(study.study_name)}</h1>",
        f"<p>Data {escape(str(data.get('name', 'unknown')))}, {len(columns)} columns:"
        f" {escape(', '.join(columns[:40]))}. Sampler {escape(str(known.get(names.SAMPLER)))}."
        f" {ended['COMPLETE']:,} trials complete, {ended['PRUNED']:,} pruned.</p>",
        "<p>Validation NLLs are in nats a row; lower is better."
        "</p><table><tr><th>trial<th>validation NLL<th>parameters<th>structure</tr>",
    ]
    for row, nll in best_rows:
        what = specs[row.number].summary() if row.number in specs else ""
        size = "" if row.parameters is None else f"{row.parameters:,}"
        parts.append(f"<tr><td>{row.number}<td>{nll:.4f}<td>{size}<td>{escape(what)}</tr>")
    parts.append("</table>")
    if spec is not None and best is not None:
        columns = list(columns_of(spec, columns))
        picture = base64.b64encode(masks_png(spec, columns, title=f"Trial {best.number}"))
        parts.append(f'<p><img alt="masks" src="data:image/png;base64,{picture.decode()}"></p>')
    library: bool = True
    for figure in figures_of(rows, best, spec, columns, trials).values():
        parts.append(figure.to_html(full_html=False, include_plotlyjs=library))
        library = False
    return "\n".join([*parts, "</html>"])
