"""Backups made, kept and restored."""
