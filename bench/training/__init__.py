"""Source training: plans, episodes, the loop, and its checkpoints."""
