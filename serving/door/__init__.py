"""Who may come in: connections, deadlines, keys, roles, limits. What passes here has a caller and a right to ask."""
