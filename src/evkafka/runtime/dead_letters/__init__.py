"""Dead letters and retry topics: where a record is written instead."""
