"""``nfopt delete`` and ``nfopt clean``: away with a study, and with what no study refers to."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nfopt.cli import options as o
from nfopt.cli import results
from nfopt.cli.failures import one_line, say, warn
from nfopt.cli.progress import count
from nfopt.cli.studies.sizes import Where, artifact_sizes, in_mb, size_text

if TYPE_CHECKING:
    import optuna

    from nfopt.distributed.inventory import Held

Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can be asked.")
]
MOST_SHOWN = 20  # studies whose remains are listed


def delete(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study.")],
    storage: o.Storage = None,
    artifacts: Where = None,
    yes: Yes = False,
    as_json: o.Json = False,
) -> None:
    """Delete a study: its trials, weights, checkpoints and pictures.

    Says what and how much, and asks. A study that a worker trains for is refused. Nothing is
    removed that the study did not write; flows that were delivered (nfopt-runs/STUDY or --out)
    stay.
    """
    from nfopt.distributed.artifacts import settle
    from nfopt.distributed.inventory import held
    from nfopt.distributed.removal import delete_study, refuse_if_worked_on
    from nfopt.storage.open import find_study

    with find_study(study, storage) as opened:
        import optuna

        found = optuna.load_study(study_name=study, storage=opened)
        if artifacts is not None:
            settle(found, artifacts)
        refuse_if_worked_on(found, _say_watching)
        holds = held(found)
        facts = _facts(found, holds, storage)
        if not as_json:
            _show(facts, holds)
        if not _confirmed(f"Delete study {study!r}?", yes):
            return
        refuse_if_worked_on(found, _say_watching)  # the answer may have taken a while
        left = delete_study(found, holds)
    for line in left:
        warn(line)
    if as_json:
        results.print_json(facts | {"left": left})
    else:
        say(f"study {study!r} is deleted")


def _say_watching(workers: int, seconds: float) -> None:
    say(
        f"{count(workers, 'worker')} may live on other machines: their leases are watched for"
        f" {seconds:g} s"
    )


def _facts(study: optuna.Study, holds: Held, storage: str | None) -> dict[str, Any]:
    from nfopt.storage.open import mask_url
    from nfopt.stored import trials_of

    return {
        "study": study.study_name,
        "storage": mask_url(storage),
        "trials": len(trials_of(study)),
        "artifacts": artifact_sizes(holds),
    }


def _show(facts: dict[str, Any], holds: Held) -> None:
    pairs = [("storage", facts["storage"]), ("trials", f"{facts['trials']:,}")]
    for kind in ("weights", "checkpoints", "pictures"):
        files = [item for item in holds.own if item.kind == kind]
        size = sum(item.bytes for item in files)
        pairs.append((kind, f"{count(len(files), 'file')}, {size_text(size)}"))
    pairs.append(("in", holds.root or "no store of artifacts"))
    if holds.maker is not None:
        pairs.append(
            (
                "stays",
                f"all of these files: they were made for {holds.maker}, where a study may have"
                " them; nfopt clean removes them there once it has none",
            )
        )
    elif holds.named:
        named = size_text(sum(item.bytes for item in holds.named))
        pairs.append(
            (
                "stays",
                f"{count(len(holds.named), 'file')}, {named}, that the study names and nothing says"
                " are its own (pictures of an older nfopt, or uploaded by hand)",
            )
        )
    if holds.elsewhere is not None:
        pairs.append(
            (
                "stays",
                f"what is elsewhere: the study calls its artifacts {holds.elsewhere!r}; give"
                " --artifacts to remove them too",
            )
        )
    results.show_pairs(f"Study {facts['study']}, to be deleted", pairs)


def _confirmed(question: str, yes: bool) -> bool:
    """Ask, unless `--yes` was given.

    Raises:
        typer.BadParameter: If nobody can be asked.
    """
    from nfopt.cli.reading import wrong

    if yes:
        return True
    if not sys.stdin.isatty():
        raise wrong("yes", "is needed where nobody can be asked: nothing was removed")
    answer = typer.confirm(one_line(question), default=False, err=True)
    if not answer:
        say("Nothing was removed.")
    return answer


def clean(
    storage: o.Storage = None,
    artifacts: Where = None,
    yes: Yes = False,
    as_json: o.Json = False,
) -> None:
    """Remove from the artifacts of a storage what none of its studies refers to.

    Such files are left by studies that were deleted elsewhere, as in the dashboard, and by workers
    that were killed. Says what and how much, and asks. What another storage's study wrote, what
    was written in the last hour, and what has no record of nfopt's is left alone.
    """
    from nfopt.distributed.artifacts import place_of
    from nfopt.distributed.inventory import listing, unreferenced
    from nfopt.distributed.removal import remove
    from nfopt.errors import StudyError
    from nfopt.storage.open import clear_errors, exists, mask_url, open_storage

    if not exists(storage):
        raise StudyError(f"`storage` {mask_url(storage)} has no studies: there is no such file.")
    with clear_errors(storage, "failed"):
        opened = open_storage(storage)
        root = place_of(artifacts, storage)
        assert root is not None  # of an open storage alone, which no command line names
        found = unreferenced(opened, listing(root), time.time())
    total = sum(one.bytes for one in found)
    files = [item for one in found for item in one.items]
    facts: dict[str, Any] = {
        "storage": mask_url(storage),
        "artifacts": root,
        "files": len(files),
        "mb": in_mb(total),
        "studies": [
            {
                "study": one.study,
                "deleted": one.deleted,
                "files": len(one.items),
                "mb": in_mb(one.bytes),
            }
            for one in found
        ],
        "left": [],
    }
    if files and not as_json:
        pairs = [
            (
                one.study,
                f"{count(len(one.items), 'file')}, {size_text(one.bytes)}"
                + (" (deleted)" if one.deleted else " (no trial refers to them)"),
            )
            for one in found[:MOST_SHOWN]
        ]
        if len(found) > MOST_SHOWN:
            pairs.append(("...", f"and of {len(found) - MOST_SHOWN:,} more"))
        results.show_pairs(f"No study of {facts['storage']} refers to these in {root}", pairs)
    if files:
        if not _confirmed(f"Remove {count(len(files), 'file')}, {size_text(total)}?", yes):
            return
        facts["left"] = remove(root, files)
        for line in facts["left"]:
            warn(line)
    if as_json:
        results.print_json(facts)
    elif not files:
        say(f"Nothing to remove: in {root} each file is a study's, or not this storage's.")
    elif not facts["left"]:
        say(f"{count(len(files), 'file')} removed, {size_text(total)}")
