"""The gRPC protocol: ``pricing.proto``, and the modules that ``make protocol`` makes of it."""
