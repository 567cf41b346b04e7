"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nfopt.cli.reading import minutes, one_of, whole

DATA, SEARCH, RUN = "Data", "Search", "Run"
SAMPLERS = ("evolution", "tpe", "nsga2", "random")

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="A table: a CSV, Parquet, NPY or NPZ file, or a named data set (magic, penbased, "
        "digits, breast_cancer, wine, moons, rings, sparse_graph:D=8). Files of up to 16 GiB are "
        "read; compressed ones up to 100 times their size, or 256 MiB where that is more.",
    ),
]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A folder that nfopt search, fit or retrain has written.",
    ),
]

# ------------------------------------------------------------------------------------------- data

Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B,...",
        help="The features, by name or position (from 0). Without it: all columns that no other "
        "option names.",
        rich_help_panel=DATA,
    ),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B,...",
        help="Columns to condition on: the flow is p(features | context).",
        rich_help_panel=DATA,
    ),
]
Bounds = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL=LOW:HIGH",
        help="A column's values lie strictly between these; leave an end out if it is open. "
        "May be given several times.",
        rich_help_panel=DATA,
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B,...",
        help="Columns of positive values, to be taken by their logarithm.",
        rich_help_panel=DATA,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="COL", help="The column of the rows' weights (not negative).", rich_help_panel=DATA
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="random|blocked|group:COL",
        help="How rows are split 80/10/10 into training, validation and test: at random, in blocks "
        "(time series), or with the rows of a group together. An NPZ with parts of its own keeps "
        "them.",
        rich_help_panel=DATA,
    ),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="The first line of a text file holds names, or is data too. Without it: it holds "
        "names, and one of numbers is refused.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        metavar="SIGN",
        help="What stands between the fields of a text file: one sign, or tab, space, comma, "
        "semicolon, pipe. Without it: found from the first lines.",
        rich_help_panel=DATA,
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        parser=one_of("decimal", ".", ","),
        metavar=".|,",
        help="The decimal sign of a text file. Without it: found from the first lines.",
        rich_help_panel=DATA,
    ),
]
Dequantise = Annotated[
    list[str] | None,
    typer.Option(
        metavar="none|all|A,COL=STEP,...",
        help="Which columns of tied values on a grid are spread within its step: none; all of "
        "which 5% are tied; or these, with a step or the one that is found. Without it: those of "
        "which most values are tied.",
        rich_help_panel=DATA,
    ),
]
DropRows = Annotated[
    bool,
    typer.Option(
        "--drop-rows", help="Leave out rows with NaN or infinite values.", rich_help_panel=DATA
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse a column with one value in over 2% of the rows, instead of warning.",
        rich_help_panel=DATA,
    ),
]

# ------------------------------------------------------------------------------------------ search

Storage = Annotated[
    str | None,
    typer.Option(
        envvar="NFOPT_STORAGE",
        metavar="URL",
        help="Where studies are kept: sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME, "
        "mysql://..., journal:///FILE or grpc://HOST:PORT (see nfopt serve). Without it: a SQLite "
        "file in nfopt-runs.",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        parser=one_of("sampler", *SAMPLERS),
        metavar="|".join(SAMPLERS),
        help="What proposes trials. Without it: evolution.",
        rich_help_panel=SEARCH,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        parser=one_of("encoding", "bits", "packed"),
        metavar="bits|packed",
        help="Masks as one parameter a bit, or packed into whole numbers. Without it: packed for "
        "evolution; for other samplers bits while there are up to 64.",
        rich_help_panel=SEARCH,
    ),
]
Space = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND|FILE.toml|KEY=VALUE",
        help="What is searched: coupling, layers, adjacency or full (all of them; the default); a "
        "TOML file of limits; or a limit such as depth=[1,4]. May be given several times.",
        rich_help_panel=SEARCH,
    ),
]
Objectives = Annotated[
    str | None,
    typer.Option(
        metavar="nll,parameters,inverse_cost",
        help="What is minimised; without it nll alone. With several there is no pruning, and the "
        "lowest validation NLL decides in the end.",
        rich_help_panel=SEARCH,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        parser=whole("trials", 1),
        metavar="N",
        help="Trials that the study shall have in all, those of earlier calls included.",
        rich_help_panel=SEARCH,
    ),
]
Initial = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="SPEC.json",
        help="A flow to try among the first trials: a FlowSpec as JSON, or a saved flow's "
        "flow.json. May be given several times.",
        rich_help_panel=SEARCH,
    ),
]

Workers = Annotated[
    int,
    typer.Option(
        parser=whole("workers", 1),
        metavar="W",
        help="Processes that search on this machine; they share its cores, or have a GPU each.",
        rich_help_panel=SEARCH,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        parser=one_of("engine", "local", "ray"),
        metavar="local|ray",
        help="Where the other workers run: here, or as tasks of Ray, on the cluster that "
        "RAY_ADDRESS names; --threads is then of each.",
        rich_help_panel=SEARCH,
    ),
]
Artifacts = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|s3://BUCKET",
        help="Where checkpoints and the best trials' weights are kept. Without it: artifacts "
        "beside the storage's file, or in nfopt-runs.",
        rich_help_panel=SEARCH,
    ),
]
Lease = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="What a worker trains is taken over by others when nothing was heard of it for so "
        "long. Without it: the study's, or 60.",
        rich_help_panel=SEARCH,
    ),
]

StudyName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the study; the same name goes on with it. Without it: the data's name.",
        rich_help_panel=SEARCH,
    ),
]

# --------------------------------------------------------------------------------------------- run

Marginals = Annotated[
    str | None,
    typer.Option(
        metavar="standardise|asinh|quantile",
        help="How columns are mapped before the flow: a word for all, or one a column with "
        "commas between. Without it: asinh.",
        rich_help_panel=RUN,
    ),
]

Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        parser=minutes,
        help="Wall-clock time of the whole command.",
        rich_help_panel=RUN,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        parser=whole("threads", 1),
        metavar="N",
        help="CPU threads. Without it: as PyTorch chooses.",
        rich_help_panel=RUN,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|cuda",
        help="Where to train. Without it: a GPU if there is one, else the CPU.",
        rich_help_panel=RUN,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        parser=whole("seed", 0), metavar="N", help="Of everything random.", rich_help_panel=RUN
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", show_default=False, help="Where the flow is saved.", rich_help_panel=RUN
    ),
]
Pictures = Annotated[
    bool,
    typer.Option(
        "--pictures/--no-pictures",
        envvar="NFOPT_PICTURES",
        help="Draw each trial, and the study, for nfopt dashboard.",
        rich_help_panel=RUN,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as one JSON object on standard output.",
        rich_help_panel=RUN,
    ),
]
