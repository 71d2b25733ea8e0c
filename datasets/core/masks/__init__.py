"""Masks of users' own data: what a file holds, what it means, and reading it."""
