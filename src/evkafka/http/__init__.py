"""The HTTP server of `web/` and `ui/`: connections, security headers, and answers encoded off the event loop."""
