"""What was declared, started and stopped in order."""
