"""The source: our AIOKafkaConsumer subclass with its coordinator, fetcher and decoder."""
