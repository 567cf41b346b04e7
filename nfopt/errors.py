"""The few exceptions of our own. What a wrong argument raises is ValueError or TypeError."""

from __future__ import annotations


class NfoptError(Exception):
    """Base of the package's own errors."""


class DataError(NfoptError, ValueError):
    """The data cannot be used as it is; the message names column and rows."""


class StudyError(NfoptError):
    """A study or its storage does not fit what was asked (other data, another space)."""


class ExportError(NfoptError):
    """A flow has a part that the target of an export has no counterpart for."""


class DataWarning(UserWarning):
    """The data can be used, but its likelihood should be read with care."""


class StudyWarning(UserWarning):
    """A study goes on, but something about it or its storage should be known."""
