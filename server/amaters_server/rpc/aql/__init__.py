"""The data service: queries, batches and streams of applications, and what waits for the node."""
