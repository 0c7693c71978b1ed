"""Dynamic pricing on causal demand, from raw sales to a guarded price that a shop can serve."""
