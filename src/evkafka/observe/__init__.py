"""Listeners: what people see of the runtime's telemetry."""
