"""Split and label the images, and look at what there is."""

from glasshead.pipelines.preprocess.pipeline import create_pipeline

__all__ = ["create_pipeline"]
