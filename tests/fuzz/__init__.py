"""Fuzzing: with any records and configurations no record is lost and no consumer ends without a reason.

`make test` runs a few examples of each property, `make fuzz` runs ten minutes of them (`__main__.py`).
"""
