"""Raw formats of public data sets, each to the contract's tables; one module a data set."""
