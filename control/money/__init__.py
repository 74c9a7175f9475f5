"""Money: what is owed by whom (policy), that it is kept (ledger), and how it is paid (payments)."""
