"""``nfopt score``, ``sample`` and ``export``: what a saved flow is for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from nfopt.cli import options as o
from nfopt.cli import results
from nfopt.cli.failures import say
from nfopt.cli.output import check_empty, check_folder, check_target, write_rows
from nfopt.cli.reading import one_of, whole, wrong

DROPPED = "more with NaN, missing or infinite values were dropped"

RowsOut = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="A file that ends in .csv, .parquet or .npy. Without it: CSV on standard output.",
    ),
]

# what flows are handed on as, and how that is loaded
TARGETS = {
    "zuko": "from zuko_flow import load",
    "torch-export": 'torch.export.load("log_prob.pt2").module()(x)',
    "onnx": 'onnxruntime.InferenceSession("log_prob.onnx").run(None, {"x": x})',
}


def score(
    model: o.ModelArgument,
    data: o.DataArgument,
    out: RowsOut = None,
    header: o.Header = None,
    separator: o.Separator = None,
    decimal: o.Decimal = None,
    drop_rows: o.DropRows = False,
    as_fitted: Annotated[
        bool,
        typer.Option(
            "--as-fitted",
            help="Spread tied columns as the test rows were spread, so that these have the score "
            "that was reported. Without it: the density at the values as they are.",
        ),
    ] = False,
    as_json: o.Json = False,
) -> None:
    """Score the rows of a table: log-likelihood in nats, on the data's own scale.

    The flow's columns are found by name, whatever other columns there are; a table without names is
    read by position. A name that was written for a spreadsheet ('=a for =a) is the column's. One
    line a row, in their order; the mean goes to standard error. With --json the rows' scores go to
    --out only.
    """
    check_target(out)
    import numpy as np

    from nfopt.data import load_rows
    from nfopt.model import Flow

    flow = Flow.load(model)
    dropped: list[int] = []
    values, given = load_rows(
        data,
        columns=flow.columns,
        context=flow.context_columns,
        origin=flow.origin,
        header=header,
        separator=separator,
        decimal=decimal,
        drop_rows=drop_rows,
        on_drop=dropped.append,
    )
    scores = flow.log_prob(values, given, as_fitted=as_fitted)
    unknown, none = np.isnan(scores), np.isneginf(scores)
    outside = np.isneginf(flow.preprocessing.to_line(values)[1])
    kinds = {
        "rows_outside": int(outside.sum()),
        "rows_too_far": int((none & ~outside).sum()),
        "rows_not_a_number": int(unknown.sum()),
    }
    mean = math.nan if unknown.any() else float(scores.mean())
    error = math.nan
    if len(scores) > 1 and math.isfinite(mean):
        error = 2.0 * float(scores.std(ddof=1)) / math.sqrt(len(scores))
    if not as_json or out is not None:
        write_rows(scores[:, None], ["log_likelihood"], out)
    if as_json:
        results.print_json(
            {
                "rows": len(scores),
                "log_likelihood": mean,
                "log_likelihood_2se": error,
                **kinds,
                "rows_dropped": sum(dropped),
                "out": None if out is None else str(out),
            }
        )
        return
    words = (
        "outside the flow's bounds have -inf",
        "so far away that their density is below what a number can hold have -inf",
        "have no number: the flow's weights are broken",
    )
    counts = [*zip(kinds.values(), words, strict=True), (sum(dropped), DROPPED)]
    note = "".join(f"; {count:,} {text}" for count, text in counts if count)
    where = "" if out is None else f", written to {out}"
    say(
        f"{len(scores):,} rows: mean log-likelihood {results.with_error(mean, error)} nats a row"
        f"{note}{where}"
    )


def sample(
    model: o.ModelArgument,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows",
            "-n",
            parser=whole("rows", 1),
            metavar="N",
            help="How many. Without it: 1000, or one for each row of --context.",
        ),
    ] = None,
    out: RowsOut = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole("seed", 0),
            metavar="N",
            help="The same seed gives the same rows; without it, fresh ones.",
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A table with the flow's context columns, if it has any: one row for all, or a "
            "row for each new row.",
        ),
    ] = None,
    raw_names: Annotated[
        bool,
        typer.Option(
            "--raw-names",
            help="Write names as they are. Without it: in CSV, a name that begins with =, +, - or "
            "@ has a ' before it, so that no spreadsheet takes it for a formula.",
        ),
    ] = False,
    no_round: Annotated[
        bool,
        typer.Option(
            "--no-round",
            help="Leave columns that were tied in the data off their grid, with the noise "
            "that they were trained with.",
        ),
    ] = False,
    header: o.Header = None,
    separator: o.Separator = None,
    decimal: o.Decimal = None,
) -> None:
    """Draw new rows from a flow, on the data's own scale, as CSV, Parquet or NPY.

    The columns have the names of the training data; those of the context follow.
    """
    check_target(out)
    import numpy as np

    from nfopt.model import Flow

    flow = Flow.load(model)
    given = _context(flow, context, header=header, separator=separator, decimal=decimal)
    many = rows if rows is not None else (1000 if given is None or len(given) == 1 else len(given))
    if given is not None:
        if len(given) not in (1, many):
            raise wrong(
                "rows",
                f"must be {len(given):,}, as many as --context has (or 1 there), got {many:,}",
            )
        given = np.broadcast_to(given, (many, given.shape[1]))
    drawn = flow.sample(many, seed=seed, context=given, round_ties=not no_round)
    if given is not None:
        drawn = np.concatenate([drawn, given], axis=1)
    write_rows(drawn, (*flow.columns, *flow.context_columns), out, raw_names=raw_names)
    if out is not None:
        say(f"{many:,} rows written to {out}")


def _context(flow: Any, source: str | None, **text: Any) -> Any:
    from nfopt.data import load_rows

    if flow.context_columns and source is None:
        named = ", ".join(flow.context_columns)
        raise wrong("context", f"must be a table with the columns {named}: the flow needs them")
    if source is None:
        return None
    if not flow.context_columns:
        raise wrong("context", "is not for this flow: it was trained without context")
    wanted = flow.context_columns
    return load_rows(source, columns=wanted, origin=flow.origin, argument="context", **text)[0]


def export(
    model: o.ModelArgument,
    to: Annotated[
        str,
        typer.Option(
            parser=one_of("to", *TARGETS), metavar=",".join(TARGETS), help="For what: see above."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="A folder. Without it: MODEL/TO."),
    ] = None,
    member: Annotated[
        int | None,
        typer.Option(
            parser=whole("member", 0),
            metavar="K",
            help="One flow of a mixture, from 0. Without it: the mixture.",
        ),
    ] = None,
) -> None:
    """Hand a flow on, with the same log_prob on the data's own scale.

    zuko: ordinary zuko flows, as Python files, weights in safetensors and the structure in JSON.
    torch-export: log_prob and sample as programs that torch loads by itself (torch.export.load).
    onnx: log_prob for onnxruntime.

    None of it needs nfopt. What the target lacks is refused before any work, and so is a folder
    that is not empty. Rows are scored from what was written before it takes its place.
    """
    place = model / to if out is None else out
    check_folder(out)
    check_empty(place)
    from nfopt import export as exports
    from nfopt.model import Flow

    flow = Flow.load(model)
    if to == "zuko":
        script = exports.write_zuko(flow, place, member=member)
        typer.echo(f"Written: {script} and its weights; in Python, there: {TARGETS[to]}")
        return
    write = exports.write_onnx if to == "onnx" else exports.write_torch_export
    home = write(flow, place, member=member)
    typer.echo(f"Written: {home}; in Python, there: {TARGETS[to]}")
