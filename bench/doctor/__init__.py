"""The installation check behind `cdfss-bench doctor`."""
