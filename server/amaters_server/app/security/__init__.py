"""Identity, permission and audit of one process: built at the start, changed by reloads."""
