"""A SQLite file on which a trial's state changes in one step, for several processes at a time.

SQLite has no row locks: of two processes that look at a trial and then write, both would succeed,
so two workers would take one waiting trial, and a late result would overwrite what was decided
meanwhile. Here whoever changes a state takes the file's write lock first, and then looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState


class SqliteStorage(RDBStorage):
    """Optuna's storage, with one change."""

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `RDBStorage`; the transaction holds the write lock from its beginning."""
        session = self.scoped_session()  # this thread's: the one that the parent goes on with
        try:
            session.execute(sqlalchemy.text("BEGIN IMMEDIATE"))
        except BaseException:
            session.rollback()
            session.close()
            raise
        return super().set_trial_state_values(trial_id, state, values)
