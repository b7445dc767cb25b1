"""What a person takes away: a page and a model card of a classifier; the page that compares several, apart."""

from glasshead.pipelines.report.pipeline import comparison_pipeline, create_pipeline

__all__ = ["comparison_pipeline", "create_pipeline"]
