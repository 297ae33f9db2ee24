"""Where the `amaters-server` program begins: signals are obeyed before its own modules are there."""

import sys

from amaters_server.app.signals import SIGNALS


def main() -> None:
    """Run the program; a server that is told to stop during its imports has nothing to stop."""
    if "start" in sys.argv[1:]:
        SIGNALS.catch()
    else:
        SIGNALS.let_through()
    from amaters_server.app.cli import main as run  # noqa: PLC0415 That is the point.

    run()


if __name__ == "__main__":
    main()
