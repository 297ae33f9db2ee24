"""Work on a node's own disk that somebody asks for: verification and compaction."""
