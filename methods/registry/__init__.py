"""From a method's name to its card and its network."""
