"""Decisions: from an observation to the next action and the status. Pure: no I/O, no clock."""
