"""A study is interrupted and goes on in a second call; nothing that was done is lost."""

from __future__ import annotations

import tempfile
from typing import Any

import optuna

import nfopt
from nfopt.events import BatchTold, Event

STUDY: dict[str, Any] = {
    "study": "example-resume",
    "space": {"kind": "coupling", "depth": [2, 4], "width": [8, 32], "steps": 600},
}
told = 0


def count(event: Event) -> None:
    """Note how many trials the study has."""
    global told
    told = event.trials if isinstance(event, BatchTold) else told


def done(study: optuna.Study) -> dict[int, Any]:
    """What the study knows of the trials that are done."""
    return {t.number: t.values for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")}


with tempfile.TemporaryDirectory() as folder:
    STUDY |= {"storage": f"sqlite:///{folder}/study.db", "out": f"{folder}/flow"}
    try:  # what Ctrl-C would do, or `kill`, here after the first trials
        nfopt.search("moons", trials=12, on_event=count, should_stop=lambda: told > 0, **STUDY)
    except KeyboardInterrupt as stopped:
        print(f"interrupted: {stopped}")
    before = nfopt.load_study(STUDY["study"], STUDY["storage"])
    states = [trial.state.name for trial in before.trials]
    print(f"stored: {len(done(before))} trials done, {states.count('RUNNING')} left running")

    result = nfopt.search("moons", trials=12, **STUDY)  # the same call again
    after = done(result.study)
    kept = all(after[number] == values for number, values in done(before).items())
    print(f"resumed: {len(after)} trials done, as asked; those of before are as they were: {kept}")
    print(f"test NLL of the flow that was found: {result.test_nll:.3f}")
