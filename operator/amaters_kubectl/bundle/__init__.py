"""The support bundle: what is collected, and what is masked in it."""
