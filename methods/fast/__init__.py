"""Faster forms of what papers describe: the same results up to rounding."""
