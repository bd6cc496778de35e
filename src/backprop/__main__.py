"""The command line: ``python -m backprop train digits``, ``predict MODEL FILE.csv``, ``trace xor``, ``play``, ``info``.

A command ends in its result, or in one line on the standard error that says what was expected, what came, and where.
Files are written at the very end, and wholly; whether they can be is checked before the work begins.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import backprop as bp

from .commands.options import parser as _parser
from .commands.options import with_share

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        What follows ``python -m backprop``. Default: what did.

    Returns
    -------
    int
        The exit status: 0; 2 after an error; 130 after Ctrl-C; 141 where nobody reads the output any more.
    """
    try:
        args = _parser().parse_args(with_share(sys.argv[1:] if argv is None else argv))
        name = "import_" if args.command == "import" else args.command
        module = import_module(f"backprop.commands.{name}")  # each brings along what only it needs
        getattr(module, name)(args)
        print(end="", flush=True)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        _drop_output()
        return 141
    except bp.RankError as error:
        return _fail(f"error: {error}")
    except bp.DivergedError as error:
        return _fail(f"error: the loss stopped being finite in epoch {error.epoch + 1}: lower --learning-rate")
    except OSError as error:
        if error.filename is None:  # as where the standard output is a full disk
            _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"error: {where}{error.strerror or error}")
    except (ImportError, MemoryError, ValueError) as error:
        return _fail(f"error: {str(error) or 'not enough memory'}")
    return 0


def _fail(message: str, status: int = 2) -> int:
    print("backprop:", *message.split(), file=sys.stderr)  # one line, also where a name has several
    return status


def _drop_output() -> None:
    """Let what is not yet flushed go nowhere, as it cannot go where it should: Python would try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
