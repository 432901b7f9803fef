"""Calls that vendors have records of: asked for by time, published once, remembered up to when."""
