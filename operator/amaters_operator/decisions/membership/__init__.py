"""Which member joins, leaves or is replaced. Pure."""
