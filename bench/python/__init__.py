"""What `cdfss_bench` offers to Python: build, predict, run and read results."""
