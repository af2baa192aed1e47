"""Whether a verdict, or a person, starts a retrain: the rules, the decision, and what stands in its way."""
