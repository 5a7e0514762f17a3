"""The record's way: see ARCHITECTURE.md."""
