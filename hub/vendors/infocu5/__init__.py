"""INFOCU5: its records of finished calls, and what we ask of it."""
