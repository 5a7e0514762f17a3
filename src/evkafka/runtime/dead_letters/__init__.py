"""Dead letters and retry topics: writing a record to another topic."""
