"""Pure computation: numbers in, numbers out; no files, environment, clock or services."""
