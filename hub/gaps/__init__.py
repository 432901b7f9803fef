"""The calls that nobody reported: found in the vendors' records, and where there are none in their silence."""
