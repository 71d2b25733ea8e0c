"""The files of something new, already running."""
