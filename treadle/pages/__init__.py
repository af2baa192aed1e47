"""What people read: pages without scripts, pictures, model cards, and the words of a look."""
