"""What the server reports of itself: logs, and counts that become metrics at a scrape."""
