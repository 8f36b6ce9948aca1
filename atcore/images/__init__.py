"""Where images come from and how they lie on disk."""
