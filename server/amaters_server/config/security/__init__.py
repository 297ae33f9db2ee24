"""Sections of who may do what, and rules between keys that protect."""
