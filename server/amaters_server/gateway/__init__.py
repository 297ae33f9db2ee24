"""The REST gateway: HTTP/1.1 in, the same calls as gRPC makes, JSON or bytes out."""
