"""What a destination wants, and how a call is said in its words. Pure."""
