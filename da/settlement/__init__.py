"""Settlement on L1: the contract that checks certificates, and an in-process chain to run it on."""
