"""Engines: ordered bytes on disk or in memory, in three keyspaces that are written together."""
