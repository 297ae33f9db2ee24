"""Messages that never leave the cluster: between members, and inside log entries."""
