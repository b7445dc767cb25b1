"""What a person takes away: page and model card of a classifier or a risk auditor; the comparison of several."""

from glasshead.pipelines.report.pipeline import comparison_pipeline, create_pipeline, risk_pipeline

__all__ = ["comparison_pipeline", "create_pipeline", "risk_pipeline"]
