"""Search spaces: from data shape and limits to flows and their training, and back."""

from nfopt.space.domains import Choice, Integer, Real
from nfopt.space.guide import Guide
from nfopt.space.limits import KEYS, KINDS, parse_limits, read_given, read_limits
from nfopt.space.search_space import SearchSpace

__all__ = [
    "KEYS",
    "KINDS",
    "Choice",
    "Guide",
    "Integer",
    "Real",
    "SearchSpace",
    "parse_limits",
    "read_given",
    "read_limits",
]
