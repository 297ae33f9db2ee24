"""What wakes the controllers, and what the operator's own pod shows. kopf is met only here."""
