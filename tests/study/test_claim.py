"""Of several who make one study at one time one makes it; the others have to mean the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from nfopt import attributes as names
from nfopt.errors import StudyError
from nfopt.storage.open import open_storage
from nfopt.study import claim as claims
from nfopt.study.create import Opened, open_study

from .makers import side_by_side, wanted

Open = Callable[[], BaseStorage]


def opener(kind: str, folder: Path) -> Open:
    """Give what opens a storage, anew for each who uses it, where that can be."""
    if kind == "memory":
        shared = InMemoryStorage()
        return lambda: shared
    url = {"sqlite": f"sqlite:///{folder}/s.db", "journal": f"journal:///{folder}/s.log"}[kind]
    open_storage(url)  # its tables
    return lambda: open_storage(url)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "journal"])
@pytest.mark.parametrize("what", ["data", "space"])
def test_of_two_who_mean_different_studies_one_is_refused(
    tmp_path: Path, kind: str, what: str
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    opened = opener(kind, tmp_path)
    for number in range(3):
        name = f"s{number}"
        one = wanted(name, "aaaa")
        other = wanted(name, "bbbb") if what == "data" else wanted(name, "aaaa", depth=3)
        found = side_by_side([opened(), opened()], [one, other])
        refused = [each for each in found if isinstance(each, StudyError)]
        assert len(found) == 2
        assert len(refused) == 1
        assert f"made with {'other data' if what == 'data' else 'another `space`'}" in str(refused)
        (made,) = [each for each in found if isinstance(each, Opened)]
        known = made.study.user_attrs
        mine = one if known[names.DATA]["fingerprint"] == "aaaa" else other
        assert made.study.study_name == name
        assert known[names.DATA]["fingerprint"] == mine.data["fingerprint"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_of_two_who_mean_the_same_both_go_on(tmp_path: Path, kind: str) -> None:
    opened = opener(kind, tmp_path)
    found = side_by_side([opened(), opened()], [wanted("s", "aaaa"), wanted("s", "aaaa")])
    assert sorted(each.resumed for each in found if isinstance(each, Opened)) == [False, True]


def test_a_maker_that_was_cut_off_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MAKING", 0.1)
    storage = InMemoryStorage()
    cut = optuna.create_study(study_name="s", storage=storage)
    cut.set_user_attr(names.STUDY_SEED, 4)
    assert not open_study(wanted("s", "aaaa"), storage).resumed
