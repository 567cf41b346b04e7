"""The fixtures of small studies."""

from small_study import _quiet, events, memory, search, source, url

__all__ = ["_quiet", "events", "memory", "search", "source", "url"]
