"""The method's contract, and what hosts and plug-ins derive from."""
