"""The price service: no Dagster in this process."""
