"""The nodes of databases: their admin service and the certificates that they serve."""
