"""Observe, decide, act: one pass at a time, nothing remembered between passes. No kopf here."""
