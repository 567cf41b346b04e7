"""What is suggested, how it is written for whom, and what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FixedTrial

import nfopt
from nfopt.adjacency import from_parents
from nfopt.attributes import SUGGESTED
from nfopt.errors import StudyError, StudyWarning
from nfopt.masks import is_valid, parse
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.trials import ORIGIN
from nfopt.space import SearchSpace
from nfopt.study.sampler import StudySampler

FOREIGN = [RandomSampler(seed=0), TPESampler(seed=0), NSGAIISampler(seed=0)]
SPACE = SearchSpace.create(4, 240, kind="coupling", limits={"depth": [1, 4], "pairs": False})
FLOW = SPACE.build({name: domain.middle() for name, domain in SPACE.parameters.items()})
WIDE = SearchSpace.create(24, 240, kind="coupling", limits={"depth": 8})


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def ask(sampler: BaseSampler) -> optuna.Trial:
    return optuna.create_study(sampler=sampler).ask()


def names(trial: optuna.Trial) -> set[str]:
    return set(trial.params)


@pytest.mark.parametrize("sampler", [EvolutionSampler(seed=0), *FOREIGN], ids=str)
@pytest.mark.parametrize("idle", [False, True])
def test_a_mask_splits_the_features(sampler: BaseSampler, idle: bool) -> None:
    letters = set()
    study = optuna.create_study(sampler=sampler)
    for _ in range(12):
        trial = study.ask()
        mask = nfopt.suggest_mask(trial, "first", 3, idle=idle)
        assert mask == nfopt.suggest_mask(trial, "first", 3, idle=idle)
        assert is_valid(parse([mask]))
        letters |= set(mask)
        study.tell(trial, mask.count("T"))
    assert letters == set("CTI" if idle else "CT")


@pytest.mark.parametrize("order", [None, (2, 0, 3, 1)])
@pytest.mark.parametrize("most", [None, 0, 2])
@pytest.mark.parametrize("sampler", [EvolutionSampler(seed=0), *FOREIGN], ids=str)
def test_parents_have_no_circle(
    sampler: BaseSampler, most: int | None, order: tuple[int, ...] | None
) -> None:
    study = optuna.create_study(sampler=sampler)
    seen = np.zeros((4, 4), dtype=bool)
    for _ in range(15):
        trial = study.ask()
        parents = nfopt.suggest_parents(trial, "graph", 4, most=most, order=order)
        found = from_parents(parents)  # refuses circles
        seen |= found
        assert most is None or max(map(len, parents)) <= most
        study.tell(trial, -found.sum())
    place = np.argsort(order) if order else None
    allowed = ~np.eye(4, dtype=bool) if place is None else place[None, :] < place[:, None]
    assert not (seen & ~allowed).any()
    assert seen.any() == (most != 0)


def test_one_feature_has_no_parents() -> None:
    trial = ask(EvolutionSampler(seed=0))
    assert nfopt.suggest_parents(trial, "graph", 1) == ((),)
    assert trial.params == {}


def test_a_layer_takes_what_is_suggested() -> None:
    trial = ask(RandomSampler(seed=0))
    mask = nfopt.suggest_mask(trial, "a", 5)
    parents = nfopt.suggest_parents(trial, "b", 5)
    layers = (nfopt.spec.Coupling(mask=mask), nfopt.spec.Autoregressive(parents=parents))
    assert nfopt.FlowSpec(features=5, layers=layers).features == 5


# ---------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    "sampler",
    [EvolutionSampler(seed=0), StudySampler("evolution", 0, SPACE)],
    ids=["evolution", "of a study"],
)
def test_the_evolution_gets_words(sampler: BaseSampler) -> None:
    trial = ask(sampler)
    nfopt.suggest_mask(trial, "a", 40)
    assert names(trial) == {"a.mask_1", "a.mask_2"}
    nfopt.suggest_flow(trial, SPACE)
    assert "layer_1.mask" in trial.params


@pytest.mark.parametrize("sampler", [*FOREIGN, StudySampler("tpe", 0, SPACE)], ids=str)
def test_others_get_bits_while_they_are_few(sampler: BaseSampler) -> None:
    trial = ask(sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StudyWarning)
        for name in ("a", "b", "c"):
            nfopt.suggest_mask(trial, name, 20)
        assert names(trial) == {f"{name}.mask.{n}" for name in "abc" for n in range(1, 21)}
    says = rf"{type(sampler).__name__} takes d\.mask for whole numbers: its 20 bits .*neighbours"
    with pytest.warns(StudyWarning, match=says):
        nfopt.suggest_mask(trial, "d", 20)
    assert "d.mask" in trial.params


def test_a_flow_of_many_bits_warns() -> None:
    trial = ask(TPESampler(seed=0))
    with pytest.warns(StudyWarning, match="takes the flow for whole numbers: its 96 bits"):
        nfopt.suggest_flow(trial, WIDE)
    assert "layer_1.mask" in trial.params
    few = ask(TPESampler(seed=0))
    assert nfopt.suggest_flow(few, SPACE) == SPACE.build(few.params)
    assert "layer_1.mask.4" in few.params


def test_who_asks_for_an_encoding_gets_it_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", StudyWarning)
        trial = ask(TPESampler(seed=0))
        nfopt.suggest_mask(trial, "a", 8, encoding="packed")
        nfopt.suggest_flow(trial, WIDE, encoding="packed")
        assert {"a.mask", "layer_1.mask"} <= names(trial)
        trial = ask(EvolutionSampler(seed=0))
        nfopt.suggest_mask(trial, "a", 8, encoding="bits")
        assert "a.mask.8" in trial.params


def test_the_study_keeps_its_encoding_whoever_samples() -> None:
    def objective(trial: optuna.Trial) -> float:
        return float(nfopt.suggest_mask(trial, "a", 12).count("T"))

    study = optuna.create_study(sampler=TPESampler(seed=0))
    study.optimize(objective, n_trials=12)
    study.sampler = EvolutionSampler(seed=0)
    study.optimize(objective, n_trials=20)
    assert all(names(trial) == {f"a.mask.{n}" for n in range(1, 13)} for trial in study.trials)
    made = {t.user_attrs.get(ORIGIN, {}).get("operator", "") for t in study.trials[12:]}
    assert any(name in operator for operator in made for name in ("swap", "flips"))
    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    study.optimize(objective, n_trials=3)
    study.sampler = TPESampler(seed=0)
    with pytest.warns(StudyWarning, match="TPESampler takes a.mask for"):
        study.optimize(objective, n_trials=1)
    assert names(study.trials[-1]) == {"a.mask"}


def test_trials_in_both_encodings_are_read() -> None:
    """Of two workers that begin at one time, each declares the encoding of its own sampler."""
    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    for number in range(14):
        trial = study.ask()
        encoding = ("packed", "bits")[number % 2]
        study.set_user_attr(
            f"{SUGGESTED}a.mask", {"what": "mask", "features": 6, "encoding": encoding}
        )
        mask = nfopt.suggest_mask(trial, "a", 6)
        study.tell(trial, mask.count("T"))
    state = study.sampler.state(  # type: ignore[attr-defined]
        study, study.sampler.infer_relative_search_space(study, study.trials[-1])
    )
    best = state.engine.incumbent()
    assert best is not None
    assert best.means[0] == pytest.approx(study.best_value, abs=0.5)
    assert len(best.numbers) >= 1
    codec = state.codec
    assert all(
        codec.encode(trial.params).masks[0].tolist().count("T") == trial.value
        for trial in study.trials
    )


def test_what_is_queued_in_one_encoding_is_tried_in_the_other() -> None:
    for sampler, mask in ((TPESampler(seed=0), {"a.mask": 2}), (EvolutionSampler(seed=0), None)):
        study = optuna.create_study(sampler=sampler)
        study.enqueue_trial(mask or {f"a.mask.{n}": int(n == 2) for n in range(1, 7)})
        study.enqueue_trial(SPACE.encoded("bits" if mask is None else "packed").params_of(FLOW))
        assert nfopt.suggest_mask(study.ask(), "a", 6) == "CTCCCC"
        assert nfopt.suggest_flow(study.ask(), SPACE) == FLOW


# ------------------------------------------------------------------------------------------- flows


def test_a_flow_needs_no_attribute_of_its_space() -> None:
    def objective(trial: optuna.Trial) -> float:
        flow = nfopt.suggest_flow(trial, SPACE).flow
        return float(sum(layer.mask.count("T") for layer in flow.layers if hasattr(layer, "mask")))

    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    study.optimize(objective, n_trials=30)
    made = {t.user_attrs.get(ORIGIN, {}).get("operator", "") for t in study.trials}
    assert {"swap", "flips", "delete_layer"} & {n for name in made for n in name.split("+")}
    assert objective(study.best_trial) == study.best_value  # type: ignore[arg-type]
    assert objective(FixedTrial(study.best_params)) == study.best_value  # type: ignore[arg-type]


def test_flow_and_masks_beside_each_other() -> None:
    def objective(trial: optuna.Trial) -> float:
        flow = nfopt.suggest_flow(trial, SPACE).flow
        return len(flow.layers) + nfopt.suggest_mask(trial, "mine", 7).count("T")

    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    study.optimize(objective, n_trials=40)
    made = [t.user_attrs.get(ORIGIN, {}).get("operator", "") for t in study.trials]
    assert "part" in {n for name in made for n in name.split("+")}
    assert study.best_value == 2


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda t: nfopt.suggest_mask(t, "", 4), "`name` must be a string of 1 to 200"),
        (lambda t: nfopt.suggest_mask(t, "a", 1), "`features` must be a whole number from 2 to"),
        (lambda t: nfopt.suggest_mask(t, "a", 2.5), "`features` .* got 2.5"),
        (lambda t: nfopt.suggest_mask(t, "a", 4, encoding="hex"), "`encoding` must be packed or"),
        (lambda t: nfopt.suggest_parents(t, "a", 4, most=-1), "`most` must be a whole number, 0"),
        (lambda t: nfopt.suggest_parents(t, "a", 3, order=[0, 0, 1]), "`order` must name each"),
        (lambda t: nfopt.suggest_flow(t, SPACE, encoding="hex"), "`encoding` must be packed or"),
        (lambda t: nfopt.suggest_mask(t, "known", 5), r"`features` of 'known.mask' was 4 in this"),
        (
            lambda t: nfopt.suggest_mask(t, "known", 4, idle=True),
            "`idle` of 'known.mask' was False",
        ),
        (
            lambda t: nfopt.suggest_mask(t, "known", 4, encoding="bits"),
            "`encoding` of 'known.mask'",
        ),
        (lambda t: nfopt.suggest_flow(t, WIDE), "`space` is another one than that of the study's"),
        (lambda t: nfopt.suggest_flow(t, SPACE, encoding="bits"), "`encoding` is another one"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call: Any, says: str) -> None:
    trial = ask(EvolutionSampler(seed=0))
    nfopt.suggest_mask(trial, "known", 4)
    nfopt.suggest_flow(trial, SPACE)
    with pytest.raises(ValueError, match=says) as caught:
        call(trial)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        7,
        {"what": "mask"},
        {"what": "mask", "features": 10**9},
        {"what": "mask", "features": 4, "encoding": "hex"},
        {"what": "parents", "features": 3, "order": [0, 0, 1]},
        {"what": "flow", "space": "{}"},
    ],
)
def test_a_wrong_attribute_is_one_line(value: Any) -> None:
    study = optuna.create_study(sampler=EvolutionSampler(seed=0), study_name="s")
    study.set_user_attr(f"{SUGGESTED}a.mask", value)
    for action in (
        lambda: nfopt.suggest_mask(study.ask(), "a", 4),
        lambda: study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1),
    ):
        with pytest.raises(StudyError, match="`study` 's' can't be used: its attribute") as caught:
            action()
        assert "\n" not in str(caught.value)
