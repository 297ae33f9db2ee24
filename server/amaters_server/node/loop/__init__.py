"""The event loop around one replica: it drives raft, writes to disk, answers callers."""
