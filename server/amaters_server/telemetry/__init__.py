"""What the server tells about itself: logs, and counts that become metrics when someone asks."""
