"""The versions that answer: verified, proved, kept in memory, swapped; and what is known of them without the ledger."""
