"""Whether a challenger replaces the champion, on which evidence, and whether it stays."""
