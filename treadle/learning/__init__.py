"""Learning from a table: what is learned from, by which recipe, found by which search, and what was normal then."""
