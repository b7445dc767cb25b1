"""Audit a risk: learn from image labels where it is, and test whether the maps point at the cause."""

from glasshead.pipelines.risk.pipeline import ablation_pipeline, create_pipeline, proof_pipeline

__all__ = ["ablation_pipeline", "create_pipeline", "proof_pipeline"]
