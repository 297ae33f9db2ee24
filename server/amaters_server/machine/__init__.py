"""The replicated state machine: what applying the log makes of the data, and how it lies on disk."""
