"""EVKafka: event-driven services on Apache Kafka."""
