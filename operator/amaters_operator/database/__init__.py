"""The door to the database: its admin service and the certificates its listeners serve."""
