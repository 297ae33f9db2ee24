"""The composition root: the command line, construction, and the order of start and stop."""

import os

# gRPC reads this once, while it is imported: its own lines on stderr are no part of our log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
