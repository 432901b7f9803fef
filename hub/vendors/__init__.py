"""One folder for each vendor, and the readers of values that they share."""
