"""One file for each command, or group of commands: options and help. `cli/impl/` does the work."""
