"""Which results may be compared, and what follows from comparing them."""
