"""Shared by the command-line programs: output, exit codes, logging, the version option."""
