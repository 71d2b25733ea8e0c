"""The domains: one reader and one card each."""
