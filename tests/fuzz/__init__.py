"""Fuzz: whatever records and configurations look like, nothing is lost and nobody is ended who need not be.

`make test` runs a few examples of each property, `make fuzz` ten minutes of them (`__main__.py`).
"""
