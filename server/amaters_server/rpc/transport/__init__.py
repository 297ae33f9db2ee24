"""Listeners, channels, calls, tasks, TLS and the status table. It knows no service."""
