"""From an official download to the published layout: safe, resumable, nothing skipped silently."""
