"""The programs that are compared. Each does the same work, in its own process."""
