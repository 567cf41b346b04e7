"""What a line of Optuna's journal must be; see `optuna.storages.journal.JournalStorage`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from optuna.distributions import BaseDistribution, json_to_distribution

NESTED = 100  # lists in lists; Optuna copies values level by level

Id = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
State = Literal[0, 1, 2, 3, 4]
One = Annotated[dict[str, Any], msgspec.Meta(min_length=1, max_length=1)]
Values = list[float] | None


class _Line(msgspec.Struct, tag_field="op_code"):
    worker_id: str


class _CreateStudy(_Line, tag=0):
    study_name: str
    directions: Annotated[list[Literal[0, 1, 2]], msgspec.Meta(min_length=1)]


class _DeleteStudy(_Line, tag=1):
    study_id: Id


class _StudyUserAttr(_Line, tag=2):
    study_id: Id
    user_attr: One


class _StudySystemAttr(_Line, tag=3):
    study_id: Id
    system_attr: One


class _CreateTrial(_Line, tag=4):
    study_id: Id
    datetime_start: str | None = None
    datetime_complete: str | None = None
    distributions: dict[str, str] = {}
    params: dict[str, float] = {}
    user_attrs: dict[str, Any] = {}
    system_attrs: dict[str, Any] = {}
    intermediate_values: dict[str, float | None] = {}
    state: State = 0
    value: float | None = None
    values: Values = None


class _Param(_Line, tag=5):
    trial_id: Id
    param_name: str
    param_value_internal: float
    distribution: str


class _StateValues(_Line, tag=6):
    trial_id: Id
    state: State
    values: Values
    datetime_start: str | None = None
    datetime_complete: str | None = None


class _Intermediate(_Line, tag=7):
    trial_id: Id
    step: int
    intermediate_value: float


class _TrialUserAttr(_Line, tag=8):
    trial_id: Id
    user_attr: One


class _TrialSystemAttr(_Line, tag=9):
    trial_id: Id
    system_attr: One


class _Nothing(_Line, tag=10):
    pass


Operation = (
    _CreateStudy
    | _DeleteStudy
    | _StudyUserAttr
    | _StudySystemAttr
    | _CreateTrial
    | _Param
    | _StateValues
    | _Intermediate
    | _TrialUserAttr
    | _TrialSystemAttr
    | _Nothing
)
msgspec.json.Decoder(Operation)  # read now: two threads that do it at once crash msgspec
NOTHING: dict[str, Any] = {"op_code": 10, "worker_id": ""}  # Optuna passes it over


class Reader:
    """Tells operations from what is none."""

    def __init__(self) -> None:
        self._known: dict[str, BaseDistribution] = {}

    def fault(self, line: object) -> str | None:
        """Say why a line's content is no operation; None if it is one."""
        try:
            found = msgspec.convert(line, Operation)
            if isinstance(found, _Param):
                self._kind(found.distribution).to_external_repr(found.param_value_internal)
            elif isinstance(found, _CreateTrial):
                for name, text in found.distributions.items():
                    self._kind(text).to_external_repr(found.params[name])
                for step in found.intermediate_values:
                    int(step)
            if isinstance(found, _CreateTrial | _StateValues):
                for time in (found.datetime_start, found.datetime_complete):
                    datetime.fromisoformat(time) if time else None
            if isinstance(found, _TrialUserAttr | _StudyUserAttr | _CreateTrial) and _deep(line):
                return "nested too deeply"
        except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError) as why:
            return " ".join(str(why).split())[:200] or type(why).__name__
        return None

    def _kind(self, text: str) -> BaseDistribution:
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = json_to_distribution(text)
        return found


def _deep(value: object) -> bool:
    """Say whether plain data is nested more than `NESTED` deep."""
    level: list[Any] = [value]
    for _ in range(NESTED):
        below: list[Any] = []
        for each in level:
            inner = each.values() if isinstance(each, dict) else each
            below += [x for x in inner if isinstance(x, dict | list)]
        if not below:
            return False
        level = below
    return True
