"""Pictures of single episodes: which are chosen, and their predictions computed again."""
