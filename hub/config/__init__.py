"""The configuration: one frozen value, complete and checked before anything opens.

Source: docs/operations.md, "Configuration". It comes from one TOML file, overridden by files in a secrets directory,
overridden by environment variables (``TRUNKLINE_BUS__URL``). Unknown keys are errors.
"""

from hub.config.destinations import (
    AnyDestination,
    CrmDestination,
    HubSpotDestination,
    SalesforceDestination,
    WebhookDestination,
    ZohoDestination,
)
from hub.config.reading import FILE, find, load, named_file
from hub.config.resolvers import (
    EVERYTHING_ELSE,
    AmqpResolver,
    AnyResolver,
    HttpResolver,
    SqlResolver,
    TableResolver,
)
from hub.config.respooling import DIALERS, RespoolRule
from hub.config.settings import Settings
from hub.config.sources import AnySource, AskedSource, FocalScopeSource, InfocallerSource, Infocu5Source, UContactSource
from hub.config.tables import Calls, Http
from hub.config.values import Part

__all__ = [
    "DIALERS",
    "EVERYTHING_ELSE",
    "FILE",
    "AmqpResolver",
    "AnyDestination",
    "AnyResolver",
    "AnySource",
    "AskedSource",
    "Calls",
    "CrmDestination",
    "FocalScopeSource",
    "Http",
    "HttpResolver",
    "HubSpotDestination",
    "InfocallerSource",
    "Infocu5Source",
    "Part",
    "RespoolRule",
    "SalesforceDestination",
    "Settings",
    "SqlResolver",
    "TableResolver",
    "UContactSource",
    "WebhookDestination",
    "ZohoDestination",
    "find",
    "load",
    "named_file",
]
