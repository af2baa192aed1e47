"""What callers may speak: one file a protocol, each reading bodies into columns and writing answers from arrays."""
