"""The AmateRS client: what applications, `amaters-cli` and the operator import."""
