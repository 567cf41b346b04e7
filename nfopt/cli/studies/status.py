"""``nfopt status``: the studies of a storage, or one of them; read-only."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nfopt.cli import options as o
from nfopt.cli import results
from nfopt.cli.failures import one_line
from nfopt.cli.progress import clock_text, count
from nfopt.cli.studies.pace import seconds_left, trials_a_minute, worker_rows
from nfopt.cli.studies.sizes import Where, files_in, sizes_of, sizes_text

if TYPE_CHECKING:
    import optuna

BEST = 5  # trials listed
STATES = ("COMPLETE", "PRUNED", "RUNNING", "WAITING", "FAIL")


def status(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="Name of a study. Without it: the list."),
    ] = None,
    storage: o.Storage = None,
    artifacts: Where = None,
    as_json: o.Json = False,
) -> None:
    """Show the studies of a storage and their sizes; or of one its workers, pace and best trials.

    Sizes are of the artifacts: weights, checkpoints, pictures.
    """
    from nfopt.storage.open import clear_errors, exists

    if study is not None:
        _one(study, storage, artifacts, as_json)
        return
    studies: list[dict[str, Any]] = []
    if exists(storage):
        with clear_errors(storage, "failed"):
            studies = _list(storage, artifacts)
    if as_json:
        results.print_json({"storage": _masked(storage), "studies": studies})
    elif not studies:
        typer.echo(f"No studies in {_masked(storage)}. Begin one: nfopt search magic --minutes 2")
    else:
        _show_list(studies, storage)


def _list(storage: str | None, artifacts: str | None) -> list[dict[str, Any]]:
    import optuna

    from nfopt.distributed.artifacts import place_of
    from nfopt.storage.open import open_storage

    opened, root = open_storage(storage), place_of(artifacts, storage)
    there = None if root is None else files_in(root)
    return [
        describe(study) | {"artifacts": sizes_of(study, there)}
        for name in sorted(optuna.get_all_study_names(opened))
        for study in (optuna.load_study(study_name=name, storage=opened),)
    ]


def _one(name: str, storage: str | None, artifacts: str | None, as_json: bool) -> None:
    import optuna

    from nfopt import attributes as names
    from nfopt.distributed.artifacts import root_of, settle
    from nfopt.errors import StudyError
    from nfopt.storage.open import find_study
    from nfopt.stored import attributes_of

    with find_study(name, storage) as opened:  # without its sampler, which brings torch
        study = optuna.load_study(study_name=name, storage=opened)
        if not {names.SPACE, names.AUTONF} & attributes_of(study).keys():
            raise StudyError(f"`study` {name!r} was not made by nfopt search or nfopt autonf.")
        if artifacts is not None:
            settle(study, artifacts)
        root = root_of(study)
        sizes = sizes_of(study, None if root is None else files_in(root))
        facts = describe(study) | {"storage": _masked(storage), "artifacts": sizes}
        if as_json:
            results.print_json(facts)
        else:
            _show_one(study, facts, storage)


def describe(study: optuna.Study) -> dict[str, Any]:
    """The state of a study: trials, workers, pace and best trials.

    Args:
        study: Any Optuna study; what nfopt did not write is None.

    Returns:
        Plain data, what `--json` prints, without sizes.
    """
    from nfopt import attributes as names
    from nfopt.stored import attributes_of, trials_of

    known = attributes_of(study)
    trials = trials_of(study)
    states = dict.fromkeys(STATES, 0)
    for trial in trials:
        states[trial.state.name] += 1
    ranked = _ranked(study)
    budget = known.get(names.BUDGET) or {}
    seconds = [trial.user_attrs.get(names.SECONDS) for trial in trials]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    begins = [trial.datetime_start for trial in trials if trial.datetime_start]
    counted = states["COMPLETE"] + states["PRUNED"]
    pace = trials_a_minute(trials)
    return {
        "study": study.study_name,
        "data": (known.get(names.DATA) or {}).get("name"),
        "sampler": known.get(names.SAMPLER),
        "objectives": known.get(names.OBJECTIVES),
        "trials": counted,
        "states": {name.lower(): number for name, number in states.items()},
        "best": ranked[0] if ranked else None,
        "best_trials": ranked[:BEST],
        "budget": {"trials": budget.get("trials"), "minutes": budget.get("minutes")},
        "workers": worker_rows(study) if states["RUNNING"] else [],
        "trials_a_minute": pace,
        "seconds_left": seconds_left(budget, counted, pace, running=states["RUNNING"]),
        "seconds": sum(float(s) for s in seconds if s is not None),
        "began": min(begins).isoformat(timespec="seconds") if begins else None,
        "last": max(ends).isoformat(timespec="seconds") if ends else None,
    }


def _ranked(study: optuna.Study) -> list[dict[str, Any]]:
    """Complete trials, the lowest validation NLL first."""
    from nfopt import attributes as names
    from nfopt.stored import flow_of, usable
    from nfopt.study.ranking import nll_place, objectives_of, ranked

    place = nll_place(objectives_of(study))
    return [
        {
            "number": trial.number,
            "validation_nll": trial.values[place],
            "validation_nll_2se": trial.user_attrs.get(names.NLL_2SE),
            "fidelity": trial.user_attrs.get(names.FIDELITY),
            "parameters": trial.user_attrs.get(names.PARAMETERS),
            "structure": None if (flow := flow_of(trial)) is None else flow.summary(),
        }
        for trial in islice(filter(usable, ranked(study)), BEST)
    ]


def _show_list(studies: list[dict[str, Any]], storage: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"Studies in {_masked(storage)}"), title_justify="left", box=None)
    for name, side in (
        ("study", "left"),
        ("data", "left"),
        ("complete", "right"),
        ("pruned", "right"),
        ("running", "right"),
        ("failed", "right"),
        ("best validation log-likelihood", "right"),
        ("time", "right"),
        ("artifacts", "right"),
        ("last", "left"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    for one in studies:
        states, best = one["states"], one["best"]
        cells = (
            one["study"],
            one["data"] or "",
            *(str(states[state]) for state in ("complete", "pruned", "running", "fail")),
            "" if best is None else f"{-best['validation_nll']:.4f}",
            clock_text(one["seconds"]),
            "" if one["artifacts"] is None else f"{one['artifacts']['mb']:,.1f} MB",
            (one["last"] or "").replace("T", " "),
        )
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    results.console().print(table)


def _show_one(study: optuna.Study, facts: dict[str, Any], storage: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    states = ", ".join(f"{number:,} {state}" for state, number in facts["states"].items() if number)
    wanted = facts["budget"]
    budget = [count(wanted["trials"], "trial")] if wanted["trials"] else []
    budget += [f"{wanted['minutes']:g} minutes a call"] if wanted["minutes"] else []
    pairs = [
        ("data", facts["data"] or "unknown"),
        ("storage", facts["storage"]),
        ("sampler", facts["sampler"] or "unknown"),
        ("trials", states or "none yet"),
        ("budget", " or ".join(budget) or "unknown"),
        ("workers", _workers(facts["workers"])),
        ("pace", _pace(facts)),
        ("training time", clock_text(facts["seconds"])),
        ("artifacts", sizes_text(facts["artifacts"])),
        ("first, last", f"{facts['began'] or '-'}, {facts['last'] or '-'}".replace("T", " ")),
    ]
    results.show_pairs(f"Study {facts['study']}", pairs)
    if facts["workers"]:
        _show_workers(facts["workers"])
    if not facts["best_trials"]:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("trial", "validation log-likelihood", "of full training", "parameters"):
        table.add_column(name, justify="right")
    table.add_column("structure", overflow="fold")
    for one in facts["best_trials"]:
        error = one["validation_nll_2se"]
        share = one["fidelity"]
        table.add_row(
            str(one["number"]),
            results.with_error(-one["validation_nll"], float("nan") if error is None else error),
            "" if share is None else f"{share:.0%}",
            "" if one["parameters"] is None else f"{one['parameters']:,}",
            Text(one_line(one["structure"] or "")),
        )
    out = results.console()
    out.print()
    out.print(table)
    flags = results.storage_flags(storage)
    best = facts["best"]["number"]
    name = results.quoted(study.study_name)
    out.print(f"\nnext: nfopt retrain {name} --trial {best}{flags}", soft_wrap=True)
    out.print(f"      nfopt dashboard {name}{flags}", soft_wrap=True)


def _workers(rows: list[dict[str, Any]]) -> str:
    """The number of workers that are alive, gone, or on other machines."""
    if not rows:
        return "none at work"
    alive = [row["alive"] for row in rows]
    kinds = ((True, "alive"), (None, "on other machines"), (False, "gone"))
    return ", ".join(f"{alive.count(kind)} {said}" for kind, said in kinds if kind in alive)


def _pace(facts: dict[str, Any]) -> str:
    pace, seconds = facts["trials_a_minute"], facts["seconds_left"]
    text = "unknown" if pace is None else f"{pace:.3g} trials a minute"
    if seconds is None:
        return text
    return f"{text}, " + (f"about {clock_text(seconds)} left" if seconds else "the budget is met")


def _show_workers(rows: list[dict[str, Any]]) -> None:
    """Print a table of the workers, their leases and trials."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("worker", "process", "alive", "lease", "trains"):
        table.add_column(name, justify="right" if name in ("process", "lease") else "left")
    for one in rows:
        trials = one["trials"]
        shown = ", ".join(map(str, trials[:8])) + (", ..." if len(trials) > 8 else "")
        cells = (
            one["host"] or "unknown",
            "" if one["pid"] is None else str(one["pid"]),
            {True: "yes", False: "no", None: "can't be seen from here"}[one["alive"]],
            "none" if one["beat"] is None else f"beat {one['beat']}",
            f"{count(len(trials), 'trial')}: {shown}",
        )
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    out = results.console()
    out.print()
    out.print(table)


def _masked(storage: str | None) -> str:
    from nfopt.storage.open import mask_url

    return mask_url(storage)
