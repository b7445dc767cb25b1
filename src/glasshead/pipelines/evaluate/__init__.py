"""Measure a calibrated classifier on the test split; the accuracy gate is a separate pipeline that runs last."""
