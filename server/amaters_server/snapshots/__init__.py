"""Snapshot files, and the places where they are kept."""
