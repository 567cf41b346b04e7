"""What people see of a study: pictures and notes of trials, figures, the pages that show them.

Names are imported when they are asked for: a page needs neither torch nor what draws in a search.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nfopt.report.hooks import publishing, reported, watching
    from nfopt.report.publisher import Publisher

__all__ = ["Publisher", "publishing", "reported", "watching"]


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = "publisher" if name == "Publisher" else "hooks"
    return getattr(import_module(f"nfopt.report.{place}"), name)
