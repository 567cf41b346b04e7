"""A SQLite storage in which several processes change a trial's state atomically.

SQLite has no row locks: two processes that read a trial and then write it would both succeed, so
that two workers would take the same waiting trial, and a late result would overwrite an earlier
one. Here a process takes the file's write lock before it reads the state that it changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy
from optuna.trial import TrialState

from nfopt.optuna_internals import BulkStorage


class SqliteStorage(BulkStorage):
    """Optuna's RDBStorage with atomic changes of a trial's state."""

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `RDBStorage`; the transaction holds the write lock from its beginning."""
        session = self.scoped_session()  # this thread's, which the parent's method uses too
        try:
            session.execute(sqlalchemy.text("BEGIN IMMEDIATE"))
        except BaseException:
            session.rollback()
            session.close()
            raise
        return super().set_trial_state_values(trial_id, state, values)
