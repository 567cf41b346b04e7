"""What nfopt needs of Optuna beyond its public interface, in one place."""

from __future__ import annotations

from typing import Any

import optuna


def attributes_of(study: optuna.Study) -> dict[str, Any]:
    """Read a study's attributes, without a copy of what is read already."""
    return study._storage.get_study_user_attrs(study._study_id)
