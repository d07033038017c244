"""A DA node and all around it: protocol, store, disperser, member, HTTP API, settlement, client, command."""
