"""Health and metrics over HTTP, for Kubernetes, Prometheus and people."""
