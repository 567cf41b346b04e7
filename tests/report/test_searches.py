"""Pictures of differentiable searches: of one trial, of its study, and their way to the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from nfopt import attributes as names
from nfopt.autonf import History, Record
from nfopt.distributed.artifacts import get, settle, store_of
from nfopt.events import Event, Notice, SearchEnded
from nfopt.report import Publisher
from nfopt.report.page import facts_of_study, html_page
from nfopt.report.searches import (
    courses_of,
    history_of,
    nll_and_cost,
    points_of,
    search_figures,
    search_png,
)

from .toys import flow, study, table

PNG = b"\x89PNG"


def history(layers: int = 2, *, exact: bool = True) -> History:
    """Weights that go from even to the first option; three options."""
    records = []
    for step in range(1, 11):
        rest = (1 - step / 10) / 3
        row = (1 - 2 * rest, rest, rest)
        seen = step > 3
        records.append(
            Record(
                sweep=0,
                places=(0, layers),
                phase="search" if seen else "warm-up",
                step=step,
                weights=(row,) * layers,
                entropy=(1 - step / 10,) * layers,
                upper_bound=5.0 - step / 10 if seen else None,
                mixture=4.5 if seen and exact else None,
                expected_cost=3.0,
                price=0.0,
                temperature=1.0,
            )
        )
    options = ("affine-coupling", "spline-coupling", "identity")
    estimator = "exact" if exact else "sampled"
    return History(options=options, costs=(1, 2, 0), estimator=estimator, records=tuple(records))


@pytest.mark.parametrize("layers", [1, 4, 64])
@pytest.mark.parametrize("exact", [True, False])
def test_a_search_is_a_picture(layers: int, exact: bool) -> None:
    assert search_png(history(layers, exact=exact), title="Trial 0").startswith(PNG)


def test_a_search_without_a_record_is_one_too() -> None:
    empty = msgspec.structs.replace(history(), records=())
    assert search_png(empty, title="Trial 0").startswith(PNG)


def test_the_course_has_what_was_seen() -> None:
    records = history().records
    assert len(records) == 10
    labels = [[label for label, _, _ in lines] for _, lines in courses_of(records)]
    assert labels == [["L_U", "L_O"], ["entropy"], ["cost"]]
    sampled = courses_of(history(exact=False).records)
    assert [label for label, _, _ in sampled[0][1]] == ["L_U"]
    warm = courses_of(records[:2])
    assert [[label for label, _, _ in lines] for _, lines in warm] == [["entropy"], ["cost"]]


def tell(found: optuna.Study, points: list[tuple[float, float]]) -> None:
    """Tell trials of costs and NLLs."""
    for cost, nll in points:
        trial = found.ask()
        trial.set_user_attr(names.SPEC, flow().to_json())
        trial.set_user_attr(names.AUTONF, history().brief())
        trial.set_user_attr(names.CANDIDATES, [{"spec": "", "nll": nll, "share": 1, "cost": cost}])
        found.tell(trial, nll)


def searches(points: list[tuple[float, float]]) -> optuna.Study:
    found = study(table())
    found.set_user_attr(names.AUTONF, {"options": ["affine-coupling"]})
    tell(found, points)
    return found


def test_the_front_leaves_out_what_is_dearer_and_worse() -> None:
    found = searches([(3, 1.0), (1, 2.0), (2, 2.5), (0.5, 4.0)])
    every, front = nll_and_cost(points_of(found.trials)).data
    assert list(every.x) == [3, 1, 2, 0.5]
    assert list(front.x) == [0.5, 1, 3]
    assert list(front.y) == [4, 2, 1]


def test_a_study_of_searches_has_their_figures_and_its_page_too() -> None:
    found = searches([(3, 1.0), (1, 2.0)])
    made = search_figures(found.trials, 0)
    assert list(made) == ["nfopt-5-nll-and-cost", "nfopt-6-weights", "nfopt-7-course"]
    labels = list(made["nfopt-6-weights"].data[0].y)
    assert labels[2:4] == ["1 identity", "2 affine-coupling"]
    assert len(made["nfopt-6-weights"].to_json()) < 60_000
    page = html_page(facts_of_study(found))
    for said in ("NLL against cost", "Weights and course of trial 0"):
        assert said in page


def test_the_history_of_an_older_version_is_read() -> None:
    """Its records say which of several restarts they are of."""
    plain = history().brief()
    older = plain | {"records": [{"search": 0, **record} for record in plain["records"]]}
    found = study(table())
    trial = found.ask()
    trial.set_user_attr(names.AUTONF, older)
    found.tell(trial, 1.0)
    assert history_of(found.trials[0]) == history()


def test_other_studies_have_none() -> None:
    assert search_figures(study(table()).trials, None) == {}
    found = study(table())
    trial = found.ask()
    trial.set_user_attr(names.AUTONF, {"options": 3})
    found.tell(trial, 1.0)
    assert history_of(found.trials[0]) is None


def test_a_trial_gets_its_pictures_and_its_history(tmp_path: Path) -> None:
    found, told = study(table(), f"sqlite:///{tmp_path}/s.db"), list[Event]()
    settle(found, tmp_path / "artifacts", make=True)
    publisher = Publisher(table())
    tell_all = publisher.through(told.append)
    trial = found.ask()
    event = SearchEnded(trial, flow(), history())
    tell_all(event)
    tell_all(SearchEnded(found.ask(), flow(), None))  # halving searches nothing by gradient
    found.tell(trial, 1.0)
    publisher.finish()
    assert not [each for each in told if isinstance(each, Notice)]
    files: dict[str, Any] = {
        meta.filename: meta.artifact_id
        for meta in get_all_artifact_meta(found.trials[0], storage=found._storage)
    }
    assert sorted(files) == ["history.json", "masks.png", "search.png"]
    store = store_of(found)
    assert store is not None
    assert get(store, files["search.png"]).startswith(PNG)
    assert History.from_json(get(store, files["history.json"])) == history()
    other = get_all_artifact_meta(found.trials[1], storage=found._storage)
    assert [meta.filename for meta in other] == ["masks.png"]
