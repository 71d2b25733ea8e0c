"""The regression gate: a baseline, and the measurement that is compared with it."""
