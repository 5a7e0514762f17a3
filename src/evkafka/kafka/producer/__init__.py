"""The sink: partition queues, idempotent producers, transactions."""
