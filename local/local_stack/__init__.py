"""The stack without Docker: its services as processes of this machine, and what the verbs do with them."""
