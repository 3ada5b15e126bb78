"""One log format for all services: 2026-11-26T00:08:04.123Z INFO sensorgenerator: message. Times are UTC."""

import logging
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s {service}: %(message)s"


def formatter(service: str) -> logging.Formatter:
    """The format, with the name of the service in it."""
    made = logging.Formatter(FORMAT.format(service=service), datefmt="%Y-%m-%dT%H:%M:%S")
    made.converter = time.gmtime
    return made


def configure(service: str) -> None:
    """Log to standard error, from INFO on. To be called once, by a program's main()."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(service))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # kafka-python logs every attempt to connect; an attempt that fails for good raises, and the service reports that.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # py4j logs a stack trace when Spark's process ends; the service reports that in one line.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
