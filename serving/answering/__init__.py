"""From a body to an answer: decoded, answered by the version that serves, written to the journal, told to the caller."""
