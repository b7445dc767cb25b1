"""Audit a risk: learn from labels of images where in them it is, and prove that the maps point at the cause."""

from glasshead.pipelines.risk.pipeline import ablation_pipeline, create_pipeline, proof_pipeline

__all__ = ["ablation_pipeline", "create_pipeline", "proof_pipeline"]
