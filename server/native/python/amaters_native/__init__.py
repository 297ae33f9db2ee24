"""The compiled part of the server: consensus, transport and checksums.

Import the three modules, not this package: `consensus` (raft-rs, no I/O), `transport`
(the batching gRPC listener) and `checksum`. Each has a `.pyi` beside it that promises
what it does.
"""
