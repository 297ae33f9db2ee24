"""Whole tables: import, export and diff, in bounded memory."""
