"""Writes results and ledger: the writing thread and its transactions."""
