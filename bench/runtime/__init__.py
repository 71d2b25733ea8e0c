"""How torch is set up: precision, memory allocation, and what to do when memory runs out."""
