"""The Kubernetes API: what the operator needs of it, its client, the Lease, events."""
