"""Demand forecasters behind one interface, their baselines, metrics and walk-forward."""
