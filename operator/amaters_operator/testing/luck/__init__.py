"""Bad luck in the world, and a witness of what the operator does then."""
