"""What a person must know of: detected by one node, reported once, and handed to sinks."""
