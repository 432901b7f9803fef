"""The words that a rule's keys may take. Pure, and light: the configuration is read by commands that dial nobody."""

from typing import Final, Literal

Breadth = Literal["number", "country"]
"""``number``: the zones of its area; ``country``: all zones of its country, since a number may have moved."""

DialAs = Literal["national", "e164", "digits"]
"""How a number is written for a dialer."""

How = Literal["auto", "task", "respool", "schedule", "list", "fresh"]
"""Which way a contact takes into uContact."""

LEAD_FIELDS: Final = (
    *("leadNameFirst", "leadNameLast", "leadAddress", "leadAddress2", "leadCity", "leadState", "leadZip"),
    *("leadCountry", "leadPhone", "leadPhone2", "leadEmail", "leadIPAddress", "leadCompany", "leadGender"),
    "leadProductList",
)
"""What a lead of INFOCU5's may say. The vendor's page has one more, a payment card's number, which is never sent."""

LEAD_NUMBERS: Final = ("leadPhone", "leadPhone2")
"""Those that are dialled: the contact's numbers, once they were looked at, and nobody else's."""
