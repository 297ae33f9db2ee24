"""What `make demo` and `make demo-k8s` show."""
