"""The methods, in wings named for what is pulled apart."""
