"""Hand a trained flow over to other libraries: zuko, and programs of torch.export."""

from nfopt.export.torch_export import write_torch_export
from nfopt.export.zuko import export_zuko, to_zuko, write_zuko

__all__ = ["export_zuko", "to_zuko", "write_torch_export", "write_zuko"]
