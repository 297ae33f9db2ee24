"""A real Kubernetes of several nodes on one Linux machine; `cluster.py` is its command line."""
