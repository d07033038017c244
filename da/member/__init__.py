"""What a member does: verify, store and sign columns, follow the logs, repair, scrub, expire."""
