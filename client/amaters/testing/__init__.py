"""Servers for tests: real gRPC on loopback, in the test's own process, with scripted failures."""
