"""The published format of a backup file."""
