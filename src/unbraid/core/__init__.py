"""The contracts, as plain data and protocols; knows no modality and imports nothing else of unbraid."""
