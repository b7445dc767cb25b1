"""Write a classifier as ONNX, int8 ONNX and a torch.export program; measure what that changes and how fast it runs."""

from glasshead.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
