"""When a backup is due, and which ones are kept. Pure."""
