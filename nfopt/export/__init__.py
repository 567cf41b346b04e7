"""Hand a trained flow over to other libraries; for now to zuko."""

from nfopt.export.zuko import export_zuko, to_zuko, write_zuko

__all__ = ["export_zuko", "to_zuko", "write_zuko"]
