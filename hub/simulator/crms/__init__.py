"""CRMs and a webhook's receiver that answer like the real ones, over real HTTP, and misbehave on order.

    async with served(HubSpotDouble(token="…")) as double:
        double.url, double.calls, double.mischief.next("drop")

Written from docs/destinations.md for themselves: nothing here is shared with ``workers.crm``, whose counterpart it is.
"""
