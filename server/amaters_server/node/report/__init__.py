"""What a node reports: its lifecycle, readiness, status, and its view of the cluster."""
