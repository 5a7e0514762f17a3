"""The programs that are compared: each does the same work, and runs in a process of its own."""
