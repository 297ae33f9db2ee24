"""What raft calls a snapshot, on its way from the leader to a follower."""
