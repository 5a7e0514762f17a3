"""Breaks the source in small ways, one at a time, and checks that the suite fails: `make mutants`."""
