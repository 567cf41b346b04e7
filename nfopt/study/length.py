"""What a study fixes once, so that its trials compare: a population's size, a trial's length."""

from __future__ import annotations

import msgspec

TRIAL_SHARE = 0.25  # of a full training that a trial takes, if the time allows
RUNGS = (0.25, 0.5, 1.0)  # of a trial's length; below a quarter the order is noise
TRUSTED = 0.1  # of a full training that trials must have had to overrule the recipe
DEFAULT_MINUTES = 10.0  # with neither `minutes` nor `trials`
FINALISTS = 3  # the best trials with distinct specs; the best recipe comes on top
MEMBERS = 5  # flows that a search keeps at most, mixed where that is better on validation data
SEARCH_ROWS = 200_000  # training rows of the search at most
SEARCH_VAL_ROWS = 25_000  # validation rows of the search at most, where training rows are cut


class Length(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a study fixes once: the population's size and the length of a trial.

    Attributes:
        size: Members of a full population, P.
        share: Of the full steps; or
        seconds: of a full population. Exactly one of the two.
        full: Seconds of the recipe's full training as measured, or None if seconds do not count.
        stacked: The same, a member of a stack.
    """

    size: int
    share: float | None = None
    seconds: float | None = None
    full: float | None = None
    stacked: float | None = None

    @property
    def trusted(self) -> bool:
        """Whether trials are long enough to rank the recipe behind another flow."""
        if self.full is None or self.seconds is None:
            return True
        return self.seconds >= TRUSTED * self.full * self.size

    def steps_of(self, full: int) -> int:
        """Steps of a trial, at most, whose full training takes `full`."""
        return full if self.share is None else max(1, round(self.share * full))

    def seconds_of(self, members: int) -> float | None:
        """Seconds of a population of so many members, or None if steps count."""
        return None if self.seconds is None else self.seconds * members / self.size
