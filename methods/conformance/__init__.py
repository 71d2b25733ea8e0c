"""The contract's checks, run against any method."""
