"""An example: flights that were scheduled to leave New York in a week of February 2013, as events."""
