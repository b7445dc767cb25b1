"""Fit one temperature per head on the calibration split and give it to the classifier."""

from glasshead.pipelines.calibrate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
