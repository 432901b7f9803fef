"""The words that a rule's keys may take. Pure, and light: the configuration is read by commands that dial nobody."""

from typing import Literal

Breadth = Literal["number", "country"]
"""``number``: the zones of its area; ``country``: all zones of its country, since a number may have moved."""

DialAs = Literal["national", "e164", "digits"]
"""How a number is written for a dialer."""

How = Literal["auto", "task", "respool", "schedule", "list", "fresh"]
"""Which way a contact takes into uContact."""
