"""What the vendor's page prints, as it prints it (blank lines apart), and the same with values where it has none.

Source: docs/vendors.md, "Infocaller: body structure"; the page is "Information API and interactive API".
"""

import re
from collections.abc import Mapping
from typing import Final

# The FIN body in JSON.
JSON_PAGE: Final = """\
{ "ApiCall": {
    "UserID": {
      "LineNumber": "DATO",
      "LineNumberInt": "DATO",
      "CallSequence": "DATO",
      "Signature": "DATO"
    },
    "Infocaller": {
      "CallType": "DATO",
      "CallerNumber": "DATO",
      "InboundNumber": "DATO",
      "InboundNumberInt": "DATO",
      "OutboundNumber": "DATO",
      "OutboundNumberInt": "DATO",
      "idcall": "DATO",
      "CallSeconds": "DATO",
      "StartDate": "DATO",
      "EndDate": "DATO",
      "CostRX": 0.000000,
      "CostTX": 0.000000
    },
    "Status": {
      "Events": {
        "Event": [
          { "EventType": "DATO",
            "EventDate": "DATO",
            "EventName": "DATO",
            "EventAddInfo1": "DATO",
            "EventAddInfo2": "DATO",
            "EventAddInfo3": "DATO",
            "EventAddInfo4": "DATO",
            "EventAddInfo5": "DATO"
          },
          { "EventType": "DATO",
            "EventDate": "DATO",
            "EventName": "DATO",
            "EventAddInfo1": "DATO",
            "EventAddInfo2": "DATO",
            "EventAddInfo3": "DATO",
            "EventAddInfo4": "DATO",
            "EventAddInfo5": "DATO"
          }
        ]
      }
    },
    "CustVars": {
      "CustVar": [
        { "VarName": "DATO",
          "VarValue": "DATO"
        },
        { "VarName": "DATO",
          "VarValue": "DATO"
        }
      ]
    }
  }
}
"""

# The FIN body in XML: typographic quotes, an impossible charset, and CallSeconds closed by another tag.
XML_PAGE: Final = """\
<ApiCall xmlns='http://tempuri.org/' encoding=” ISO-8559-1”>
  <UserID>
      <LineNumber></LineNumber>
      <LineNumberInt></LineNumberInt>
      <CallSequence></CallSequence>
      <Signature></Signature>
  </UserID>
  <Infocaller>
      <CallType></CallType>
      <CallerNumber></CallerNumber>
      <CallerNumberInt></CallerNumberInt>
      <InboundNumber></InboundNumber>
      <InboundNumberInt></InboundNumberInt>
      <OutboundNumber></OutboundNumber>
      <idcall></idcall>
      <CallSeconds></Callseconds>
      <StartDate></StartDate>
      <EndDate></EndDate>
      <CostRX></CostRX>
      <CostTX></CostTX>
  </Infocaller>
  <Status>
      <Events>
       <Event>
              <EventType></EventType>
              <EventDate></EventDate>
              <EventName></EventName>
              <EventAddInfo1></EventAddInfo1>
              <EventAddInfo2></EventAddInfo2>
              <EventAddInfo3></EventAddInfo3>
              <EventAddInfo4></EventAddInfo4>
              <EventAddInfo5></EventAddInfo5>
          </Event>
      </Events>
  </Status>
  <CustVars>
      <CustVar>
          <VarName></VarName>
          <VarValue></VarValue>
      </CustVar>
  </CustVars>
</ApiCall>
"""

# The worked example of a request, with values; its QueryName begins with a space.
XML_QUERY_PAGE: Final = """\
<ApiCall xmlns='http://tempuri.org/' encoding=” ISO-8559-1”>
  <UserID>
      <LineNumber>123456789</LineNumber>
      <CallSequence>98565656</CallSequence>
      <Signature>ae73e4b16a280726fb2e0e6bfb43902a</Signature>
  </UserID>
  <Infocaller>
      <CallerNumber>911888920</CallerNumber>
      <InboundNumber>900805089</InboundNumber>
      <InboundNumberInt>34900805089</InboundNumberInt>
      <QueryName> ESTADO PEDIDO</QueryName>
  </Infocaller>
  <CustVars>
       <CustVar>
                <VarName>NUMPEDIDO</VarName>
                <VarValue>123456789</VarValue>
       </CustVar>
  </CustVars>
</ApiCall>
"""

# The authentication example, in XML and in JSON; only one of them has the country's prefix.
XML_USER_PAGE: Final = """\
<UserID>
  <LineNumber>123456789</LineNumber>
  <LineNumberInt>34123456789</LineNumberInt>
  <CallSequence>98565656</CallSequence>
   <Signature>ae73e4b16a280726fb2e0e6bfb43902a</Signature>
</UserID>
"""

JSON_USER_PAGE: Final = """\
"UserID": {
      "LineNumber": "123456789",
      "LineNumberInt": "123456789",
      "CallSequence": "98565656",
      "Signature": "ae73e4b16a280726fb2e0e6bfb43902a"
    }
"""


# --- the same, with values where the page has none -------------------------------------------------------------------

FILLED: Final[Mapping[str, str]] = {
    "LineNumber": "123456789",
    "LineNumberInt": "34123456789",
    "CallSequence": "98565656",
    "Signature": "ae73e4b16a280726fb2e0e6bfb43902a",
    "CallType": "R",
    "CallerNumber": "911888920",
    "InboundNumber": "900805089",
    "InboundNumberInt": "34900805089",
    "CallSeconds": "42",
    "StartDate": "2022-01-01T10:00:00",
    "EndDate": "2022-01-01T10:00:42",
    "CostRX": "0.120000",
    "CostTX": "0.000000",
    "EventType": "2",
    "EventDate": "2022-01-01T10:00:05",
    "EventName": "911222333",
    "EventAddInfo3": "37",
    "EventAddInfo4": "0.05",
    "VarName": "NUMPEDIDO",
    "VarValue": "123456789",
}


def filled_json(page: str = JSON_PAGE, values: Mapping[str, str] = FILLED) -> str:
    """The page's JSON with its ``DATO`` replaced by values, empty where there is none."""
    text = re.sub(r'"(\w+)": "DATO"', lambda pair: f'"{pair[1]}": "{values.get(pair[1], "")}"', page)
    return re.sub(r'"(Cost..)": [0-9.]+', lambda pair: f'"{pair[1]}": {values[pair[1]]}', text)


def filled_xml(page: str = XML_PAGE, values: Mapping[str, str] = FILLED) -> str:
    """The page's XML with values between its tags, and with CallSeconds closed by its own name."""
    page = page.replace("</Callseconds>", "</CallSeconds>")
    return re.sub(r"<(\w+)></\1>", lambda pair: f"<{pair[1]}>{values.get(pair[1], '')}</{pair[1]}>", page)
