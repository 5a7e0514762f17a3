"""What a decorated function asks for, and how it is called."""
