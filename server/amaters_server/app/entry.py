"""The start of `amaters-server`: signals work before its modules are imported."""

import gc
import sys

from amaters_server.app.signals import SIGNALS


def main() -> None:
    """Run the program; a signal to stop during its imports has nothing to stop."""
    # Imports make objects that stay: looking for garbage among them took a tenth of the start.
    gc.disable()
    if "start" in sys.argv[1:]:
        SIGNALS.catch()
    else:
        SIGNALS.let_through()
    from amaters_server.app.cli import main as run  # noqa: PLC0415 That is the point.

    run()


if __name__ == "__main__":
    main()
