"""The column maps, where zuko_flow.py looks for them: beside itself, here as in its copies."""

from nfopt.model.column_maps import KINDS

__all__ = ["KINDS"]
