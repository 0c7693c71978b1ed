"""``python -m serving``: the price service of one home, with its Redis."""

from __future__ import annotations

import argparse
import sys

from pricing_assets.core.errors import InputError
from pricing_assets.core.settings import PricingSettings
from serving.home import Home, load_settings
from serving.launch import serve


def main() -> int:
    """Serve until stopped; 2 with one line on bad settings."""
    options = _options()
    try:
        return serve(Home.at(options.home), _settings(options))
    except InputError as failure:
        sys.stderr.write(f"{failure}\n")
        return 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--home", metavar="DIR", help="default: PRICING_HOME, then .pricing")
    parser.add_argument("--host", metavar="ADDRESS", help="default: serving.host, 127.0.0.1")
    parser.add_argument("--port", metavar="N", type=int, help="default: serving.port, 8080")
    parser.add_argument(
        "--grpc-port", metavar="N", type=int, help="default: serving.grpc_port, 50051"
    )
    return parser.parse_args()


def _settings(options: argparse.Namespace) -> PricingSettings:
    """The settings of PRICING_CONFIG with the address of the command line."""
    settings = load_settings()
    given = {"host": options.host, "port": options.port, "grpc_port": options.grpc_port}
    address = {name: value for name, value in given.items() if value is not None}
    serving = settings.serving.model_copy(update=address)
    return settings.model_copy(update={"serving": serving})


if __name__ == "__main__":
    sys.exit(main())
