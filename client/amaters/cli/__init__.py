"""`amaters-cli`: what a person or a script asks of a cluster from a terminal."""

import os

# gRPC reads this once, while it is imported. It would write its own log to stderr, where only
# what we say belongs; what a person needs of it is in our messages.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
