"""Hand a flow over to zuko, torch.export and ONNX, or only its structure, which others train."""

from nfopt.export.factory import factory
from nfopt.export.onnx import write_onnx
from nfopt.export.torch_export import write_torch_export
from nfopt.export.zuko import export_zuko, to_zuko, write_zuko

__all__ = ["export_zuko", "factory", "to_zuko", "write_onnx", "write_torch_export", "write_zuko"]
