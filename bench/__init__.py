"""Benchmarks: EVKafka compared with a hand-written loop on aiokafka. Run them with `make bench`."""
