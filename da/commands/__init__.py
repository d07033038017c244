"""The subcommands of `da`, one module per topic; da/cli.py combines them."""
