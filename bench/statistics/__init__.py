"""Metrics, confidence intervals and tests over recorded rows."""
