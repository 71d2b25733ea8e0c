"""What stands on disk: records, rows, timings, and the hashes that identify them."""
