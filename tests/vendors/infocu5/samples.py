"""The vendor's own samples, as its page prints them, its placeholders left in."""

from typing import Any, Final

import orjson

CALL: Final[dict[str, Any]] = {
    "callDate": "2022-01-01T20:58:19+00:00",
    "callCampaignID": "_CAMPAIGN_ID_",
    "callCampaignName": "Campaign Name",
    "callListID": "_LIST_ID_",
    "callListName": "List Name",
    "callAgentName": "Agent Name",
    "callContact": "Contact Name",
    "callType": "Inbound",
    "callNumberInbound": "8885551212",
    "callNumberOutbound": "8885551313",
    "callTime": "00:20:27",
    "callQueueTime": "00:01:49",
    "callTalkTime": "00:24:07",
    "callHoldTime": "00:00:00",
    "callHandleTime": "00:18:37",
    "callAfterCallWorkTime": "00:00:03",
}

GET_CALLS: Final = orjson.dumps(
    {"responseCode": 1, "responseMessage": "Success", "responseDetails": {"_CALL_ID_": CALL}}
)

GET_AGENTS: Final = b"""{
  "responseCode": 1,
  "responseMessage": "Success",
  "responseDetails": [
    {
      "agentID": "_AGENT_ID_",
      "agentNameFirst": "First",
      "agentNameLast": "Last"
    }
  ]
}"""

FIELDS: Final = (
    *("leadNameFirst", "leadNameLast", "leadAddress", "leadAddress2", "leadCity", "leadState", "leadZip"),
    *("leadCountry", "leadPhone", "leadPhone2", "leadEmail", "leadIPAddress", "leadCompany", "leadGender"),
    *("leadCCNumber", "leadProductList"),
)

_DIALER: Final = {"dialerID": "_UNIQUE_DIALER_ID_", "dialerName": "Dialer Name", "fields": list(FIELDS)}

GET_CAMPAIGNS: Final[dict[str, Any]] = {
    "responseCode": 1,
    "responseMessage": "Success",
    "responseDetails": [
        {
            "campaignID": "1111",
            "campaignName": "Campaign Name",
            "campaignProducts": [{"listID": "111000", "listName": "List Name", "listMapping": [_DIALER]}],
        }
    ],
}
"""As the page's example."""

GET_CAMPAIGNS_OF_THE_TEXT: Final[dict[str, Any]] = {
    "responseCode": 1,
    "responseMessage": "Success",
    "responseDetails": [{"campaignID": "1111", "campaignName": "Campaign Name", "campaignLists": [_DIALER]}],
}
"""As its table of fields."""

REFUSED: Final = b'{\n  "responseCode": 100,\n  "responseMessage": "Invalid ID and Transaction Key combination"\n}'

REQUEST_WITH_A_COMMA: Final = b"""{
"affiliateID": "_AFFILIATE_ID_",
"affiliateKey": "_AFFILIATE_KEY_",
"dialerFunction": "getCalls",
"dateStart": "2022-01-01T00:00:00+00:00",
"dateEnd": "2022-01-01T23:59:59+00:00",
}"""
"""The page's own request, which is not JSON."""
