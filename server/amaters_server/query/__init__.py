"""Judging stored values: tests on plain bytes, and which rows of a scan pass. Pure."""
