"""The wire: documents and answers as they travel between programs; encoding beside decoding, no I/O."""
