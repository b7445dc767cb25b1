"""The report page and model card of a classifier, and the comparison of several."""

from glasshead.pipelines.report.pipeline import comparison_pipeline, create_pipeline

__all__ = ["comparison_pipeline", "create_pipeline"]
