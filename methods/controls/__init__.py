"""Control rows: what a method must beat."""
