"""The demo: one payload end to end on real processes, and then an attack."""
