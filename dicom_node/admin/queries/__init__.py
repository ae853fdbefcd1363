"""Read models: pure questions to the ledger, answered as frozen values."""
