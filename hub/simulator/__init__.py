"""Vendors that call us: seeded life cycles as real HTTP requests, mutators that spoil them, a driver that sends them.

Three steps, each of its own module::

    steps = stream(calls(select(["all"]), seed=7, count=1000, target=[Source(...)]))       # scenarios
    steps = mutate(steps, Mutations(duplicate=0.05, reorder=0.1), seed=7)                  # mutators
    report = await play(steps, "http://127.0.0.1:8080", rate=200)                          # driver

Everything before the driver is pure: no clock, no sockets, and the same seed gives the same bytes for ever. Nothing
here imports the decoders of ``hub.vendors``: it is their counterpart, written from the vendors' pages for itself, so
that a misreading on one side shows on the other.
"""
