"""The demonstration: a payload's whole road on real processes, and an attack on it."""
