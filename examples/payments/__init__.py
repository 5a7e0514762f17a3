"""Orders are paid, what fails ends among the dead letters, and is replayed after the fix."""
