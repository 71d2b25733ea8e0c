"""The harness: plan, evaluate, record, compare, show."""
