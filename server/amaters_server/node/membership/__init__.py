"""Changes of the membership, what peers ask of this node, and moving leadership."""
