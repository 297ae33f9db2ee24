"""The data service: reads, writes, scans and transactions."""
