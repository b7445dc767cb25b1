"""Measure a calibrated classifier on the test split; the gate is a separate pipeline that runs last."""

from glasshead.pipelines.evaluate.pipeline import create_pipeline, gate_pipeline

__all__ = ["create_pipeline", "gate_pipeline"]
