"""The trained flow that a user holds: score, sample, save, load."""

from nfopt.model.chunks import chunk_rows, log_prob
from nfopt.model.disk import versions
from nfopt.model.flow import Flow

__all__ = ["Flow", "chunk_rows", "log_prob", "versions"]
