"""Tables, exports and pages made from results."""
