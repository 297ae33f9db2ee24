"""`amaters-cli`: the command line for people and scripts."""

import os

# gRPC reads this once, while it is imported: its own log does not belong on stderr, and our
# messages have what a person needs of it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
