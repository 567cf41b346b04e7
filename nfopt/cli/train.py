"""``nfopt search``, ``fit`` and ``retrain``: the commands that train a flow and save it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfopt.cli import options as o
from nfopt.cli import results
from nfopt.cli.failures import resumable, warn
from nfopt.cli.groups import AS_IT_IS, NEW_STUDY, StudyOptions, TableOptions, grouped
from nfopt.cli.output import check_folder
from nfopt.cli.progress import showing
from nfopt.cli.reading import whole, wrong

if TYPE_CHECKING:
    from nfopt.events import Event, OnEvent


@grouped
def search(
    data: o.DataArgument,
    minutes: o.Minutes = None,
    trials: o.Trials = None,
    out: o.Out = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole("seed", 0),
            metavar="N",
            help="Of everything random. Without it: the study's, and 0 for a new one.",
            rich_help_panel=o.RUN,
        ),
    ] = None,
    device: o.Device = None,
    threads: o.Threads = None,
    pictures: o.Pictures = True,
    as_json: o.Json = False,
    options: StudyOptions = NEW_STUDY,
    members: Annotated[
        int | None,
        typer.Option(
            parser=whole("members", 1),
            metavar="K",
            help="Distinct flows of the mixture at most; 1 keeps a single flow. Without it: 8.",
            rich_help_panel=o.RUN,
        ),
    ] = None,
    table: TableOptions = AS_IT_IS,
) -> None:
    """Find, train and save the best flow for a table.

    With neither --minutes nor --trials it takes 10 minutes; with both, whichever comes first. Every
    trial is a training: who is behind at a rung ends there, the others are trained to their end,
    and the last of the time trains further seeds of the best. A mixture of all that was trained is
    chosen on validation rows and scored once on test rows.
    Without --out the flow is saved in nfopt-runs/STUDY. A search that was stopped goes on when the
    same command is given again.
    """
    from_data = table.read()
    watched = Watched()
    with resumable(watched.how_to_resume):
        check_folder(out)
        from nfopt import api

        with showing() as show:
            result = api.search(
                data,
                minutes=minutes,
                trials=trials,
                members=members,
                device=device,
                threads=threads,
                seed=seed,
                out=out,
                pictures=pictures,
                on_event=watched.through(show),
                on_warning=warn,
                **options.read(),
                **from_data,
            )
    if as_json:
        results.print_json(result.to_dict())
    else:
        results.show_search(result, results.storage_flags(options.storage))


@grouped
def fit(
    data: o.DataArgument,
    minutes: o.Minutes = None,
    members: Annotated[
        int | None,
        typer.Option(
            parser=whole("members", 1),
            metavar="K",
            help="Flows trained side by side from different seeds and used as one ensemble. "
            "Without it: as many as --minutes allows, at most 8; without --minutes one.",
            rich_help_panel=o.RUN,
        ),
    ] = None,
    marginals: o.Marginals = None,
    out: o.Out = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    as_json: o.Json = False,
    table: TableOptions = AS_IT_IS,
) -> None:
    """Train and save the best known flow for a table of this size, without a search.

    With --minutes it trains as many of the best known recipes as fit, and mixes what validates
    best. Without it, one flow of the best recipe, for its own number of steps. Without --out the
    flow is saved in nfopt-runs/NAME-fit, after the data.
    """
    from_data = table.read()
    with resumable(lambda: "Interrupted: nothing was saved."):
        check_folder(out)
        from nfopt import api

        with showing() as show:
            result = api.fit(
                data,
                minutes=minutes,
                members=members,
                marginals=marginals,
                device=device,
                threads=threads,
                seed=seed,
                out=out,
                on_event=show,
                on_warning=warn,
                **from_data,
            )
    if as_json:
        results.print_json(result.to_dict())
    else:
        results.show_fit(result)


def retrain(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|DATA",
            help="Name of a study; with --from the table that the flow was trained on.",
        ),
    ],
    trial: Annotated[
        int | None,
        typer.Option(
            parser=whole("trial", 0), metavar="N", help="Number of the trial (see nfopt status)."
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FLOW.json",
            show_default=False,
            help="Make a delivered flow again from its flow.json alone: all its members, with "
            "their seeds, steps and shares.",
        ),
    ] = None,
    out: o.Out = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Where the study's table is now, if it is no longer in its place."
        ),
    ] = None,
    storage: o.Storage = None,
    minutes: o.Minutes = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole("seed", 0), metavar="N", help="Of the weights.", rich_help_panel=o.RUN
        ),
    ] = None,
    device: o.Device = None,
    threads: o.Threads = None,
    as_json: o.Json = False,
) -> None:
    """Train any trial of a study in full, or a delivered flow again; score and save it.

    Without --minutes it trains for the trial's full number of steps. Without --out the flow is
    saved in nfopt-runs/STUDY-N, with --from in nfopt-runs/NAME-again, after the data. With --from
    the table is read, split and checked as it was then.
    """
    if from_ is not None:
        given = {"trial": trial, "data": data, "minutes": minutes, "seed": seed}
        for option in (name for name, value in given.items() if value is not None):
            raise wrong(option, "does not go with `--from`, which says all of it")
        _retrain_from(from_, study, device, threads, out, as_json)
        return
    if trial is None:
        raise wrong("trial", "is missing: the number of a trial, or `--from` a flow.json")
    with resumable(lambda: "Interrupted: nothing was saved."):
        check_folder(out)
        from nfopt import api

        with showing() as show:
            result = api.retrain(
                study,
                trial,
                storage=storage,
                data=data,
                minutes=minutes,
                seed=seed,
                device=device,
                threads=threads,
                out=out,
                on_event=show,
            )
    if as_json:
        results.print_json(result.to_dict())
    else:
        results.show_retrain(result)


def _retrain_from(
    path: Path,
    data: str,
    device: str | None,
    threads: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    with resumable(lambda: "Interrupted: nothing was saved."):
        check_folder(out)
        from nfopt import api

        with showing() as show:
            result = api.retrain_from(
                path,
                data,
                device=device,
                threads=threads,
                out=out,
                on_event=show,
                on_warning=warn,
            )
    if as_json:
        results.print_json(result.to_dict())
    else:
        results.show_repeat(result)


@dataclass
class Watched:
    """What is known of a running search, for the line after Ctrl-C."""

    study: str | None = None
    storage: str = ""

    def through(self, show: OnEvent) -> OnEvent:
        """Give a callback that looks at an event and hands it on."""

        def look(event: Event) -> None:
            from nfopt import events

            if isinstance(event, events.Started):
                self.study, self.storage = event.study, event.storage
            show(event)

        return look

    def how_to_resume(self) -> str:
        """Say what is kept and how to go on."""
        if self.study is None:
            return "Interrupted before the search began: nothing was stored."
        return (
            f"Interrupted: study {self.study!r} keeps its trials in {self.storage}; the same "
            "command goes on with it."
        )
