"""What a person must hear of: judged from what one node sees, told once, and handed to sinks."""
