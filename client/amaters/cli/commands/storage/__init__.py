"""What a node does to its own disk."""
