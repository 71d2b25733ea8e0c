"""What a command selects: methods, domains, shots and seeds become cells."""
