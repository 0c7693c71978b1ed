"""Dagster assets, thin: an asset, its checks, its metadata; they meet through parameter names."""
