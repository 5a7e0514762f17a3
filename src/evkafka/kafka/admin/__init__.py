"""Topics, groups, permissions and reading logs."""
