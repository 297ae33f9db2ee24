"""Logs as one JSON object a line, or as text for a terminal."""

import logging
import sys

import structlog

# kopf logs each event and each connection; the controllers log what matters.
_QUIET = {
    "kopf": logging.WARNING,
    "kopf.objects": logging.ERROR,
    # It warns that signals do not reach its thread, which is intended.
    "kopf._core.reactor.running": logging.ERROR,
    "aiohttp": logging.WARNING,
    "grpc": logging.WARNING,
    "asyncio": logging.INFO,
}


def configure(*, level: str, json: bool) -> None:
    """Send every log record of the process to standard error in one format."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
