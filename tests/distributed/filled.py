"""Studies with files in their store of artifacts, and what must hold when one is deleted."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import optuna
from optuna.trial import TrialState, create_trial

from nfopt import attributes as names
from nfopt.distributed import artifacts
from nfopt.distributed.checkpoints import key
from nfopt.distributed.inventory import held, listing, unreferenced
from nfopt.distributed.removal import delete_study
from nfopt.report import attachments
from nfopt.storage.open import open_storage

AGED = 4_000.0  # seconds: past the hour in which nothing is taken for abandoned


def filled(url: str, name: str, root: Path | None = None) -> optuna.Study:
    """Make a study of two trials with weights, a checkpoint and two pictures, as nfopt does."""
    study = optuna.create_study(study_name=name, storage=open_storage(url))
    artifacts.settle(study, root, make=True)
    own, store = artifacts.own_store(study), artifacts.store_of(study)
    assert own is not None
    assert store is not None
    for value in (1.0, 2.0):
        weights, token = f"weights-{uuid.uuid4().hex}.safetensors", uuid.uuid4().hex
        artifacts.put(own, weights, b"w" * 1000)
        artifacts.put(own, key(token, 0, "json"), b"{}")
        trial = study.ask()
        trial.set_user_attr(names.WEIGHTS, weights)
        trial.set_user_attr(names.CHECKPOINT, {"token": token, "slot": 0})
        attachments.attach(trial, store, "masks.png", b"p" * 500)
        study.tell(trial, value)
    return study


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def age(root: Path, seconds: float = AGED) -> None:
    for path in root.rglob("*"):
        before = path.stat().st_mtime - seconds
        os.utime(path, (before, before))


def one_goes_and_the_other_stays(url: str, root: Path) -> None:
    """Delete one study of two, on any storage; then what a dashboard's deletion leaves."""
    gone, stays = filled(url, "gone", root), filled(url, "stays", root)
    # whoever can write to the storage may say that another study's files are this one's
    theirs = next(item.key for item in held(stays).own if item.kind == "pictures")
    weights = stays.trials[0].user_attrs[names.WEIGHTS]
    meta = f'{{"artifact_id": "{theirs}", "filename": "masks.png", "mimetype": "image/png"}}'
    trial = create_trial(state=TrialState.COMPLETE, value=3.0)
    trial.set_user_attr(names.WEIGHTS, weights)
    trial._system_attrs = {f"artifacts:{theirs}": meta}
    gone.add_trial(trial)
    (root / "mine.txt").write_text("not nfopt's")
    holds = held(gone)
    assert (holds.bytes("weights"), holds.bytes("checkpoints")) == (2000, 4)
    assert [item.key for item in holds.named] == [theirs]
    before, own = files(root), {item.key for item in holds.own}
    assert delete_study(gone, holds) == []
    assert files(root) == before - own
    assert optuna.get_all_study_names(open_storage(url)) == ["stays"]
    assert len(held(stays).own) == 8  # token, owner.json, and of two trials three files each
    age(root)
    assert unreferenced(open_storage(url), listing(str(root)), time.time()) == []
    optuna.delete_study(study_name="stays", storage=open_storage(url))  # as the dashboard does
    (found,) = unreferenced(open_storage(url), listing(str(root)), time.time())
    assert (found.study, found.deleted, len(found.items)) == ("stays", True, 8)
