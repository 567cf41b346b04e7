"""What a paper can take over names what was used, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nfopt import attributes as names
from nfopt.report.page.citation import REFERENCES, SHORT, citation
from nfopt.report.page.facts import Delivered, Facts, StudyFacts
from nfopt.spec import Autoregressive, FlowSpec, Spline

SPEC = FlowSpec(features=2, layers=(Autoregressive(order=(0, 1), map=Spline()),))
INFO = {
    "scores": {"test_nll": 3.25, "test_nll_2se": 0.125},
    "train": {"optimiser": "muon"},
    "versions": {"nfopt": "1.2.3", "torch": "2.0", "optuna": "5.0"},
}
FIT = Facts("moons", ["a", "b"], {"rows": [80, 10, 10]}, Delivered([SPEC], [1.0], INFO, None))


def cited(facts: Facts) -> set[str]:
    said = citation(facts)
    return {key for key, reference in REFERENCES.items() if reference[:20] in said}


def searched(**known: object) -> Facts:
    return replace(FIT, study=StudyFacts("s", "", known, [], ["nll"]))


def test_a_fit_names_its_numbers_and_what_it_used() -> None:
    said = citation(FIT)
    assert "the 2 columns of moons (80 rows for training, 10 for validation)" in said
    assert "on 10 rows, which no step" in said
    assert "-3.25 ± 0.12 nats a row" in said
    assert "nfopt 1.2.3, torch 2.0, optuna 5.0" in said
    assert "version = {1.2.3}" in said
    assert cited(FIT) == {"muon", "autoregressive", "spline"}


@pytest.mark.parametrize(
    ("known", "key"),
    [
        ({names.SAMPLER: "evolution"}, "gonsior"),
        ({names.SAMPLER: "tpe"}, "tpe"),
        ({names.SAMPLER: "nsga2"}, "nsga2"),
        ({names.SAMPLER: "tpe", names.AUTONF: {}}, "autonf"),
    ],
)
def test_a_search_names_how_it_searched(known: dict[str, object], key: str) -> None:
    found = cited(searched(**known))
    assert found == {"muon", "autoregressive", "spline", "optuna", key}
    assert SHORT[key] in citation(searched(**known))


def test_a_study_alone_has_a_paragraph() -> None:
    alone = replace(searched(**{names.SAMPLER: "random"}), delivered=None)
    assert "random search: 0 trials" in citation(alone)
    assert citation(Facts("x", ["a"])) == ""
