"""``info``: what a bug report should say."""

import argparse

import backprop as bp

__all__ = ["info"]


def info(args: argparse.Namespace) -> None:
    """Print version, instruction set and threads."""
    for name, value in bp.show_config().items():
        print(f"{name}: {value}")
