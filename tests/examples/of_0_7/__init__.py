"""Programs as users of evkafka 0.7 wrote them: unchanged, they run."""
