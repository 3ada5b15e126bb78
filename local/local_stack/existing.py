"""Servers that exist: a Kafka or a Druid that the user names by its address. The stack only uses them.

It neither starts nor stops them, and never removes their data.
"""

from collections.abc import Mapping

from service import contract

from local_stack.settings import CLUSTER, OF_CLUSTER, PROPERTIES, WITH_DASHBOARD

VARIABLES = {"Kafka": "KAFKA_BOOTSTRAP_SERVERS", "Druid": "DRUID_URL"}


def named(environment: Mapping[str, str]) -> dict[str, str]:
    """The addresses of the servers that exist, by what they are; the stack runs its own where there is none."""
    return {what: environment[name] for what, name in VARIABLES.items() if name in environment}


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a stack with all services that it can have, which no file of the user's is needed for."""
    removed = (*VARIABLES.values(), PROPERTIES, *OF_CLUSTER)
    kept = {name: value for name, value in environment.items() if name not in removed}
    return {**kept, CLUSTER: "1", WITH_DASHBOARD: "1"}


def described(environment: Mapping[str, str]) -> str:
    """A line for `make status`; empty if all servers are the stack's own."""
    if not (found := named(environment)):
        return ""
    servers = " and ".join(f"{what} at {address} ({VARIABLES[what]})" for what, address in found.items())
    return f"not this stack's: {servers}. `make down` and `make reset` leave them and their data alone."


def kept(environment: Mapping[str, str]) -> str:
    """What `make reset` says that it has not removed; empty if all servers are the stack's own."""
    topics = contract.topics(environment).values()
    held = {
        "Kafka": f"the topics {', '.join(topic.name for topic in topics)}",
        "Druid": f"the datasources {', '.join(topic.datasource.name for topic in topics if topic.datasource)}",
    }
    if not (found := named(environment)):
        return ""
    servers = " and ".join(f"{held[what]} in {what} at {address}" for what, address in found.items())
    return (
        f"Kept, because these servers are not this stack's: {servers}. A new start needs them empty: remove them there."
    )
