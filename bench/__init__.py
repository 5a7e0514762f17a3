"""What EVKafka costs, measured against a loop written by hand: `make bench`."""
