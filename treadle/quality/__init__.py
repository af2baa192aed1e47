"""Quality of what was answered: measured where labels came, estimated where they have not, and what moved inputs cost."""
