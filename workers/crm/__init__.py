"""CRM forwarding: every destination gets what it wants of the calls, each once, and the CRMs the latest of it.

``service`` takes events and runs ``destination``s; each claims work and has a kind (``kinds``) do it in a ``visit``:
``webhooks`` post events, ``records`` bring a CRM's record (``hubspot``, ``salesforce``, ``zoho``) to the call's.
"""

from typing import Final

from hub.config import Settings
from hub.forwarding.wanting import binding
from hub.ports import QueueSpec
from hub.ports.forwarding import WORKER

NAME: Final = WORKER


def queue(settings: Settings) -> QueueSpec:
    """What the destinations want, and nothing else."""
    wanted = {binding(pattern) for one in settings.destinations.values() for pattern in one.events}
    return QueueSpec("trunkline.crm", tuple(sorted(wanted)))
