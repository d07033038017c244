"""`python -m da`: the `da` command."""

from da.cli import main

main()
