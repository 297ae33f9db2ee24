"""Volumes: whose they are, when they grow, and when a claim may be deleted. Pure."""
