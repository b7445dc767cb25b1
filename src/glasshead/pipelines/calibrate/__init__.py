"""Fit temperatures and the threshold of abstention on the calibration split and give them to the classifier."""

from glasshead.pipelines.calibrate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
