"""``sesr-ref train`` as a job of a worker: several trainings share machines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sesr_ref.commands.train import run
from sesr_ref.commands.train_options import add_arguments
from sesr_ref.train.loop import holds_run
from sesr_ref.workers import Show


@dataclass(frozen=True)
class Training:
    """What is done with the options of a training: it is begun, or resumed where it stands.

    If its worker is lost, the next one resumes from the checkpoint, to the same bits.
    """

    def __call__(self, words: Sequence[str], show: Show) -> None:
        """Train to the end.

        Parameters
        ----------
        words : sequence of str
            Options of ``sesr-ref train``, without ``--resume``.
        show : function
            Told how far it is.

        Raises
        ------
        FloatingPointError
            If the training diverges.
        OSError, ValueError
            As `run`.
        """
        args = options_of(words)
        args.words, args.resume = ["train", *words], holds_run(args.out)
        show(0)
        run(args, show)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def options_of(words: Sequence[str]) -> argparse.Namespace:
    """Parse options of ``sesr-ref train``.

    Parameters
    ----------
    words : sequence of str
        Options.

    Returns
    -------
    Namespace

    Raises
    ------
    ValueError
        If there is no such option or value.
    """
    parser = _Parser(add_help=False)
    add_arguments(parser)
    return parser.parse_args(list(words))
