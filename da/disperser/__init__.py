"""What a disperser does: keep payloads, batch and encode them, send the columns out, gather signatures."""
