"""Placing calls: what may be asked for, and which call a dial of unknown outcome became. Pure."""
