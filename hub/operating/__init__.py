"""What an operator does about dead letters and the quarantine: the same verbs for HTTP and for the commands."""
