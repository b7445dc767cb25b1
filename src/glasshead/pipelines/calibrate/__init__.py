"""Fit temperatures and an abstention threshold on the calibration split, and add them to the classifier."""
