"""Time limits, stalls, restarts and the end of a consumer."""
