"""A selection of the modules in ``make test``; all of them where FAULTS says how much: ``quick`` or ``full``."""

import os

collect_ignore = (
    []
    if "FAULTS" in os.environ
    else [
        "test_broker.py",
        "test_cluster.py",
        "test_crm.py",
        "test_drain.py",
        "test_ledger.py",
        "test_outage.py",
        "test_outbox_disk.py",
        "test_postgresql.py",
        "test_recordings.py",
        "test_rolling.py",
        "test_workers_killed.py",
    ]
)
