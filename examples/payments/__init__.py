"""Handles payments of orders. Orders that fail become dead letters, and are replayed after the fix."""
