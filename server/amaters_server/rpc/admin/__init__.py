"""The administration service: what the operator and `amaters-cli` ask of one node."""
