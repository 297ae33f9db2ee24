"""The compiled part of the server: consensus, transport, requests and checksums.

Import the four modules, not this package: `consensus` (raft-rs, no I/O), `transport`
(the batching gRPC listener), `queries` (reads usual requests) and `checksum`. Each has a
`.pyi` beside it that promises what it does.
"""
