"""Who is told what, once, and how."""
