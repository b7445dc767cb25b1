"""The report page and model card of a classifier, and the comparison of several."""
