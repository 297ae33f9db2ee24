"""The composition root: the command line, who is built from what, and the order of start and stop."""

import os

# gRPC reads this once, while it is imported: its own lines on stderr are no part of our log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
