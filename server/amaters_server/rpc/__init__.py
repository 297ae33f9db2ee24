"""Calls in, answers out, in batches: the only doors to the network."""
