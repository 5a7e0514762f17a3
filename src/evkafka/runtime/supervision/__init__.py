"""Time limits, stalls, restarts and the stop of a consumer."""
