"""INFOCU5's operations by name, for ``trunkline vendor call``. Each prints the vendor's answer as it came."""

from collections.abc import Mapping
from typing import Any, Final

from hub.vendors.infocu5.client import Client
from hub.vendors.operations import Operation, Parameter, table

_SHOW_ALL: Final = Parameter("showAll", "y: all that you may see; n: only your own", "flag", default=True)


async def _get_agents(client: Client, given: Mapping[str, Any]) -> Any:
    return (await client.get_agents(show_all=given["showAll"])).shown


async def _get_campaigns(client: Client, given: Mapping[str, Any]) -> Any:
    return (await client.get_campaigns(show_all=given["showAll"])).shown


async def _get_calls(client: Client, given: Mapping[str, Any]) -> Any:
    campaigns, agents = given["filterCampaigns"] or (), given["filterAgents"] or ()
    answer = await client.get_calls(given["dateStart"], given["dateEnd"], campaigns=campaigns, agents=agents)
    return answer.shown


async def _add_leads(client: Client, given: Mapping[str, Any]) -> Any:
    answer = await client.add_leads(
        given["dialerID"],
        given["listID"],
        given["leads"],
        time_offset=given["callTimeOffset"],
        auto_populate=given["listAutoPopulate"],
    )
    return answer.shown


OPERATIONS: Final = table(
    (
        Operation("getAgents", "Agents that are available to you.", "verified", _get_agents, (_SHOW_ALL,)),
        Operation("getCampaigns", "Campaigns with their lists and dialers.", "verified", _get_campaigns, (_SHOW_ALL,)),
        Operation(
            "getCalls",
            "Records of finished calls.",
            "verified",
            _get_calls,
            (
                Parameter("dateStart", "from here", "time", required=True),
                Parameter("dateEnd", "to here", "time", required=True),
                Parameter("filterCampaigns", "ids of campaigns", "list"),
                Parameter("filterAgents", "ids of agents", "list"),
            ),
        ),
        Operation(
            "addLeads",
            "Put one to ten leads into a list of a dialer.",
            "assumed",
            _add_leads,
            (
                Parameter("dialerID", "DI and six characters", required=True),
                Parameter("listID", "of that dialer", required=True),
                Parameter("leads", "an array of one to ten objects of lead fields", "json", required=True),
                Parameter("callTimeOffset", "as the XML has it", default="0"),
                Parameter("listAutoPopulate", "as the XML has it", "flag", default=True),
            ),
            changes=True,
        ),
    )
)
