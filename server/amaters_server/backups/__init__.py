"""Backups: files of all data, and the places where they are kept."""
