"""What the command-line programs share: output, exit codes, log lines, the version option."""
