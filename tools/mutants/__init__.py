"""Breaks the engine in small ways, one after the other, and looks whether the suite notices: `make mutants`."""
