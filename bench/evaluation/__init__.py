"""Running cells: the evaluator, its caches, and the runner that records what it measured."""
