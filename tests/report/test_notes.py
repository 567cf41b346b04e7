"""Notes: what they say, and that a column's name is never markdown."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from nfopt import attributes as names
from nfopt.report.notes import LONGEST, escape, study_note, trial_note
from nfopt.report.rows import rows_of
from nfopt.samplers.trials import ORIGIN
from nfopt.spec import Coupling, FlowSpec, TrainSpec

from .toys import COLUMNS, flow, group, study, table, tell

NASTY = ["<img src=x onerror=alert(1)>", "[a](javascript:alert(1))", "**b** `c`", "a\n\n# d"]


def test_a_trials_note_says_what_it_is() -> None:
    found = study(table())
    tell(found, group(found, [1.25]))
    note = trial_note(found.trials[0], COLUMNS)
    assert note is not None
    for said in (
        "affine coupling", "**1.2500** ± 0.02", "100% of 400 steps", "seed of the weights: 7",
        f"parameters: {flow().parameter_count():,}", "x\\|y\\_z, \\<b\\> given energy",
    ):  # fmt: skip
        assert said in note, note


def test_what_the_sampler_says_is_in_the_note() -> None:
    found = study(table())
    trained = group(found, [1.25])
    trained.members[0].trial.set_user_attr(ORIGIN, {"operator": "flip_letter", "parents": [3, 5]})
    tell(found, trained)
    note = trial_note(found.trials[0], COLUMNS)
    assert note is not None
    assert "- made by: flip\\_letter, of trials 3, 5" in note


def test_a_trial_of_others_has_no_note() -> None:
    assert trial_note(create_trial(value=1.0), COLUMNS) is None


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text(name: str) -> None:
    written = escape(name)
    assert "\n" not in written
    plain = written.replace("\\", "")
    assert plain == " ".join(name.split())
    for sign in "<>[]()*`#":
        assert written.count(sign) == written.count(f"\\{sign}")


def test_a_note_stays_one_piece_however_deep_the_flow() -> None:
    spec = FlowSpec(features=12, layers=(Coupling(mask="CT" * 6),) * 40)
    trial = create_trial(
        state=TrialState.COMPLETE,
        value=1.0,
        user_attrs={names.SPEC: spec.to_json(), names.TRAIN: TrainSpec().to_json()},
    )
    note = trial_note(trial, [name * 9 for name in NASTY * 3])
    assert note is not None
    assert len(note) <= LONGEST
    assert "more layers (see the picture)" in note


def test_the_studys_note_says_how_to_go_on() -> None:
    found = study(table())
    tell(found, group(found, [2.0, 1.5]))
    rows = rows_of(found.trials)
    url = "postgresql+psycopg://me:***@host/db"
    note = study_note("my study", url, found.user_attrs, rows, flow(1))
    for said in (
        "**toy\\_table**", "320, 40, 40", "4 columns: energy, mass \\$m\\$", "20 trials in all",
        "2 complete", "trial 1, validation NLL 1.5000",
        f"nfopt search '/data/toy table.csv' --study 'my study' --storage '{url}'",
        "nfopt retrain 'my study' --trial 1",
    ):  # fmt: skip
        assert said in note, note
    assert "***" in note


def test_an_empty_study_has_a_note_too() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    note = study_note("a```b", "InMemoryStorage", {}, [], None)
    assert "0 complete" in note
    assert note.count("```") == 2
    assert "--storage" not in note
