"""CloudEvents 1.0 in Kafka records, in binary and structured mode.

`event.py` is an event's attributes, `reading.py` takes an event out of a record, `writing.py` puts one into a record.
"""
