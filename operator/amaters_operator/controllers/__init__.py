"""Observe, decide, act: one pass at a time, with nothing kept between passes. No kopf here."""
