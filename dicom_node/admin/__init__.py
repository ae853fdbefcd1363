"""What a person sees and asks of a node: pages, the JSON API, health and metrics.

`queries` look into the ledger, `actions` change it (each with its role and its line in the audit trail), `api` and
`pages` show both. Nothing here holds a state of its own, so several nodes on one ledger show the same.
"""
