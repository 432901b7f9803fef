"""CRM forwarding: every destination gets what it wants of the calls, each once, and the CRMs the latest of it.

``service`` takes events and runs ``destination``s; each claims work and has a kind (``kinds``) do it in a ``visit``:
``webhooks`` post events, ``records`` bring a CRM's record (``hubspot``, ``salesforce``, ``zoho``) to the call's.
"""
