"""Evidence on models and prices: accuracy, elasticities, the report, and simulated truth."""
