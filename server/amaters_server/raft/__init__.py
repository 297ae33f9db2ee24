"""Replication without I/O: one member's log, proposals, reads and membership rules on raft-rs."""
