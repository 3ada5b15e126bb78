"""Remedies in the words of both modes: `make` without Docker, Compose with it."""

UP = "`make up` (`docker compose up`)"
DOWN = "`make down` (`docker compose stop`)"
RESET = "`make reset` (`docker compose down --volumes`)"

OWN_HOSTS = ("kafka0", "kafka1", "kafka2", "router", "localhost", "127.0.0.1", "[::1]")  # of this stack's servers


def log_of(service: str) -> str:
    """Where the log of a service is."""
    return f"{service}.log in .local/stack/logs (`docker compose logs {service}`)"


def restart(service: str) -> str:
    """How a service that hangs is started again."""
    return f"`make down` and `make up` (`docker compose restart {service}`)"
