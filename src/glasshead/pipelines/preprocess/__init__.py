"""Split and label the images, and plot the data."""

from glasshead.pipelines.preprocess.pipeline import create_pipeline

__all__ = ["create_pipeline"]
