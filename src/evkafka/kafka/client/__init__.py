"""Connections, logins, protocol requests, log filters."""
