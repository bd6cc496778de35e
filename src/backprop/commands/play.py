"""``play``: the playground, a page in the browser."""

import argparse

from .. import _validate
from .. import play as playground
from . import options

__all__ = ["play"]


def play(args: argparse.Namespace) -> None:
    """Serve the playground until Ctrl-C."""
    port = _validate.integer(args.port, "--port", 0, 65535)
    if args.what is None:
        options.refuse_columns(args, "without one")
        playground.serve(None, port=port, browser=not args.no_browser)
        return
    points, remarks = playground.of_table(*options.read(args), args.target)
    print(*remarks, sep="\n")
    playground.serve(points, port=port, browser=not args.no_browser)
