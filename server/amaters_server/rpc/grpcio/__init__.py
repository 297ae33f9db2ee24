"""The grpc.aio listener and channels, beside the native transport."""
