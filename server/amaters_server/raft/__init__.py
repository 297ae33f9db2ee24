"""TODO owner: say in one line what this package owns."""
