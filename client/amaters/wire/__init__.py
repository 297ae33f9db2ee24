"""The published protocol: .proto files, and the stubs generated from them (`make proto`)."""
