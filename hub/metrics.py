"""Metrics, by Prometheus's client.

Labels come from closed sets: configured names and our own words, never a number, a call or a stranger's text.
"""

import os
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable: a directory in which the children of one parent add their metrics up."""

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

callbacks = Counter("trunkline_callbacks", "Callbacks by their answer", ["source", "answer"])
callback_seconds = Histogram(
    "trunkline_callback_seconds",
    "From a callback's last byte to its answer",
    ["source"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
outbox_rows = Gauge(
    "trunkline_outbox_rows",
    "Events on the ingress's own disk that the bus has not taken yet",
    multiprocess_mode="livemostrecent",  # the children share one file: the last who looked knows
)
outbox_taken = Counter("trunkline_outbox_taken", "Events that the outbox took instead of the bus", ["why"])
outbox_lost = Counter("trunkline_outbox_lost", "Rows that the witness knows of and the file does not", ["what"])
outbox_damaged = Counter("trunkline_outbox_damaged", "What was set aside on the ingress's own disk", ["what"])
unknown = Counter("trunkline_unknown", "What callbacks said that the vendor's pages do not", ["source", "what"])
quarantined = Counter("trunkline_quarantined", "Callbacks kept in quarantine", ["source", "reason"])
deliveries = Counter("trunkline_deliveries", "Deliveries by how they were settled", ["worker", "outcome"])
batch_size = Histogram("trunkline_batch_size", "Deliveries handled together", ["worker"], buckets=(1, 5, 20, 100, 500))
batch_seconds = Histogram("trunkline_batch_seconds", "Time that a batch took", ["worker"])
events_kept = Counter("trunkline_events_kept", "Events that persistence kept", ["what"])
conflicts = Counter("trunkline_conflicts", "Fields on which two events of one call disagreed")
sealed = Counter("trunkline_calls_sealed", "Calls that this process sealed")
unaccounted = Gauge(
    "trunkline_unaccounted",
    "Accepted events that are neither kept, nor dead, nor in flight",
    multiprocess_mode="livemostrecent",
)
crm_tries = Counter("trunkline_crm_tries", "Requests to destinations", ["destination", "step", "outcome"])
crm_waiting = Gauge(
    "trunkline_crm_waiting",
    "Pieces of work that a destination is owed",
    ["destination"],
    multiprocess_mode="livemostrecent",  # everybody asks the same store
)
crm_oldest_seconds = Gauge(
    "trunkline_crm_oldest_seconds",
    "For how long the oldest of them has waited",
    ["destination"],
    multiprocess_mode="livemostrecent",
)
crm_disabled = Gauge(
    "trunkline_crm_disabled",
    "1 while nothing is sent to a destination, since it is gone",
    ["destination"],
    multiprocess_mode="livemostrecent",
)
outgoing = Counter("trunkline_outgoing", "Requests to other systems by their end", ["lane", "verdict"])
outgoing_seconds = Histogram(
    "trunkline_outgoing_seconds",
    "From sending a request to the end of its answer, or of a download",
    ["lane"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 60, 600),
)
outgoing_open = Gauge(
    "trunkline_outgoing_open",
    "1 while a lane asks nothing but probes",
    ["lane"],
    multiprocess_mode="livemax",
)
outgoing_limit = Gauge(
    "trunkline_outgoing_limit",
    "Requests at once that the other side bears",
    ["lane"],
    multiprocess_mode="livesum",
)
outgoing_in_flight = Gauge(
    "trunkline_outgoing_in_flight",
    "Requests on their way",
    ["lane"],
    multiprocess_mode="livesum",
)
queries = Counter("trunkline_queries", "Queries by what came of them", ["source", "outcome"])
query_seconds = Histogram(
    "trunkline_query_seconds",
    "From a Query's header to its answer",
    ["source"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10),
)
query_events_late = Counter("trunkline_query_events_late", "Queries answered before their event was durable")
query_events_lost = Counter("trunkline_query_events_lost", "Events of Queries that nobody could take")
resolver_answers = Counter(
    "trunkline_resolver_answers", "Questions to a resolver by their end", ["resolver", "outcome"]
)
resolver_seconds = Histogram(
    "trunkline_resolver_seconds",
    "From a question to a resolver's answer, or to giving it up",
    ["resolver"],
    buckets=(0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
poll_lag = Gauge(
    "trunkline_poll_lag_seconds",
    "Since the time up to which a vendor's records are on the bus",
    ["source"],
    multiprocess_mode="livemostrecent",
)
poll_requests = Counter("trunkline_poll_requests", "Windows of records by how asking for them ended", ["source", "end"])
poll_records = Counter("trunkline_poll_records", "Records that polls brought", ["source", "what"])
callback_loss = Gauge(
    "trunkline_callback_loss_ratio",
    "Callbacks that did not come, of those that should have: by the vendor's records, or by the calls' life cycle",
    ["source", "basis"],
    multiprocess_mode="livemostrecent",
)
source_volume = Gauge(
    "trunkline_source_volume_ratio",
    "Calls that began of late, of those that are usual at this hour",
    ["source", "span"],
    multiprocess_mode="livemostrecent",
)
source_silent = Gauge(
    "trunkline_source_silent",
    "1 while a source tells of far fewer calls than is usual at this hour",
    ["source"],
    multiprocess_mode="livemostrecent",
)
dials = Counter("trunkline_dials", "Dials by what came of them", ["source", "outcome"])
dial_seconds = Histogram(
    "trunkline_dial_seconds",
    "From the request for a call to the vendor's answer",
    ["source"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60),
)
relayed = Counter("trunkline_derived_published", "Derived events that this process published")
recordings = Counter("trunkline_recordings", "Attempts at recordings by what came of them", ["source", "outcome"])
recording_bytes = Counter("trunkline_recording_bytes", "Audio that was put into custody", ["source"])
recording_seconds = Histogram(
    "trunkline_recording_seconds",
    "Time that an attempt at a recording took",
    ["source"],
    buckets=(0.05, 0.25, 1, 5, 15, 60, 300, 1800, 3600),
)
recordings_endangered = Counter(
    "trunkline_recordings_endangered", "Recordings not fetched shortly before their vendor deletes them", ["source"]
)
recordings_deleted = Counter("trunkline_recordings_deleted", "Recordings whose time in custody is over", ["source"])
respools = Counter("trunkline_respools", "Attempts to put a contact into a dialer", ["dialer", "outcome"])
respools_open = Gauge(
    "trunkline_respools_open",
    "Attempts that are not settled",
    ["dialer", "state"],
    multiprocess_mode="livemostrecent",
)
respool_held = Counter("trunkline_respool_held", "Attempts held back because a list cannot be read", ["rule"])
respool_list_unreadable = Gauge(
    "trunkline_respool_list_unreadable",
    "1 while a rule's do-not-call list cannot be read, and nobody is called by it",
    ["rule"],
    multiprocess_mode="livemax",
)
loop_late = Gauge(
    "trunkline_loop_late_seconds",
    "By how much the event loop is behind",
    multiprocess_mode="livemax",
)


def exposition() -> bytes:
    """Every metric of this process, or of all children of its parent, in Prometheus's text form."""
    if SHARED not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types there
    return generate_latest(registry)
