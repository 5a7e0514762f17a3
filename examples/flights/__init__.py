"""An example: the flights that were to leave New York in a week of February 2013, as events."""
