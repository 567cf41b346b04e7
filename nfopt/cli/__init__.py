"""The command line, ``nfopt --help``: thin faces over the Python functions of the same names."""

from __future__ import annotations

from nfopt.cli.app import app, main, run

__all__ = ["app", "main", "run"]
