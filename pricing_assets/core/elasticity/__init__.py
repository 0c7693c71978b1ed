"""Own-price, cross-price and rival elasticity from panels whose prices followed demand."""
