"""Updates and filters: which rows match, and what becomes of their values."""
