"""The playground: a page in the browser in which a network is trained step by step, and every number can be looked at.

`serve` is what ``python -m backprop play`` calls. `server` is HTTP alone; what is asked is checked in `settings` and
`points`; `experiment` trains; `frames` are what the page draws.
"""

from __future__ import annotations

import errno
import secrets
import time
import webbrowser

from .experiment import Experiment
from .feed import Feed
from .points import Points, Source, of_table
from .server import Server, running

__all__ = ["Experiment", "Feed", "Server", "Source", "of_table", "running", "serve"]


def serve(table: Points | None, *, port: int = 0, browser: bool = True) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    table : Points or None
        Those of a CSV file, beside the data sets that are made.
    port : int, default 0
        0: any that is free.
    browser : bool, default True
        Whether to open the page.
    """
    feed = Feed()
    experiment = Experiment(Source(table), feed)
    try:
        server = Server(port, secrets.token_hex(16), feed, experiment.do, experiment.download, experiment.look)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise OSError(error.errno, "in use: give another --port" if taken else error.strerror, f"port {port}") from None
    with experiment.running(), running(server):
        print(server.address, flush=True)
        if browser:
            webbrowser.open(server.address)
        while True:
            time.sleep(3600)
