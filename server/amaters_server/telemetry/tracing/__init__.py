"""Traces: which spans there are, how they travel, and the one door to OpenTelemetry."""
