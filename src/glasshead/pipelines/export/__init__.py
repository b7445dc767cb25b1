"""Write a classifier as ONNX, int8 ONNX and a torch.export program; measure their accuracy and speed."""

from glasshead.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
