"""`python -m light_client`: the `light-client` command."""

from light_client.cli import main

if __name__ == "__main__":
    main()
