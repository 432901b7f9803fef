"""Respooling's decisions: which sealed call goes back to a dialer, with which number, when, and why not. Pure."""
