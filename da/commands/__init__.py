"""The subcommands of `da`, one module a topic; da/cli.py puts them together."""
