"""What people see of a study: pictures and notes of trials, figures, the pages that show them."""

from __future__ import annotations

from nfopt.report.hooks import publishing, reported, watching
from nfopt.report.publisher import Publisher

__all__ = ["Publisher", "publishing", "reported", "watching"]
