"""uContact: its event webhooks, and what we ask of it, of both generations of its API."""
