"""Raft snapshots in transfer from a leader to a follower."""
