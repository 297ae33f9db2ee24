"""The door to the Kubernetes API: what the operator asks of it, and how."""
