"""How torch is set up: precision, threads, memory allocation, what to do when memory runs out."""
