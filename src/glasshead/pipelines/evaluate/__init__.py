"""Measure a calibrated classifier on the test split; the gate is a separate pipeline that runs last."""
