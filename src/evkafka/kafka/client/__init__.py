"""Connections, logins, diagnosis and protocol requests."""
