"""Streams of events: what carries them, how they land, and what the feature store learns."""
