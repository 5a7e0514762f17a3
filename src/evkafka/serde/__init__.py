"""From bytes to payloads and back, and the schemas of both."""
