"""Checks of a data set on disk, and a contact sheet of it."""
