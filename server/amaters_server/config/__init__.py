"""The configuration: its keys and sources, its validation, and what a reload may change."""
