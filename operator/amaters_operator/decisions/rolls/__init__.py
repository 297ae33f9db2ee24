"""Which pod is replaced next, whether it may be, and what happens when it fails. Pure."""
