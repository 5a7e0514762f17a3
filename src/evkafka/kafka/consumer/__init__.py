"""The source: a contained AIOKafkaConsumer with its coordinator, fetcher and decoder."""
