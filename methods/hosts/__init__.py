"""The hosts: one paper, one module and one card each."""
