"""Fit temperatures and an abstention threshold on the calibration split, and add them to the classifier."""

from glasshead.pipelines.calibrate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
