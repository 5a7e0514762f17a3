"""The source: fetching, decoding, membership in a group."""
