"""The report: one HTML file without scripts, made of sections; `document` lists them."""

from __future__ import annotations

from nfopt.report.page.document import html_page
from nfopt.report.page.facts import facts_of_result, facts_of_study

__all__ = ["facts_of_result", "facts_of_study", "html_page"]
