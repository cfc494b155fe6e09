"""Dictionaries of named arrays: to a network with its parameters, and back."""

from __future__ import annotations

from sesr_ref.architectures import architecture as architecture_named
from sesr_ref.checks import check_params
from sesr_ref.exchange.dialects import DIALECTS
from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.mapping import as_network, by_name, guessed
from sesr_ref.exchange.modules import IGNORED, Arrays
from sesr_ref.exchange.renaming import known_rows, read_table, write_table
from sesr_ref.exchange.values import check_count, check_unnamed, finite
from sesr_ref.limits import one_of
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

PREFIXES = ("module.", "model.", "net.", "_orig_mod.", "generator.")
"""What wrappers put ahead of all names, one inside the other."""


def from_state(
    arrays: Arrays,
    description: str | None = None,
    architecture: str | Network | None = None,
    ordered: bool = True,
) -> tuple[Network, Params]:
    """Recognise which network's parameters these are.

    Parameters
    ----------
    arrays : dict of arrays
        Float arrays under somebody's names, as in a PyTorch state dict, in the file's order.
    description : str, optional
        The network as JSON, where the file carries it; the names are ours then.
    architecture : str or Network, optional
        Which network it is, where the names do not say: a name that `sesr_ref.architecture` takes
        or a description.
    ordered : bool
        Whether the arrays are in the order of the layers; if not, shapes and numbers in names must
        tell it.

    Returns
    -------
    net : Network
        Without a description, what the dialect's table says; our own names alone do not tell
        whether the input is added to every subpixel: it is, as in the paper.  Other people's names
        are matched to the networks with a name, by the order and shapes of their convolutions.
    params : dict of float32 or float64 arrays
        float16 ones are widened.

    Raises
    ------
    ValueError
        With what was expected and what was found; with the names of all that fit, where several
        do.
    """
    if description is not None:
        return _described(arrays, description, architecture)
    check_count(arrays)
    own, prefix = _unprefixed(arrays)
    if not own:
        raise ValueError("the file has no parameters")
    if architecture is not None:
        if isinstance(architecture, str):
            architecture = architecture_named(architecture)
        return as_network(own, architecture, ordered)[:2]
    known = {key: len(known_rows(dialect, own)) for key, dialect in DIALECTS.items()}
    failures = []
    for key in sorted((key for key, count in known.items() if count), key=lambda key: -known[key]):
        try:
            return read_table(DIALECTS[key], own, prefix)
        except ValueError as error:
            failures.append(f"{DIALECTS[key].title}: {error}")
    try:
        return guessed(own, ordered)[:2]
    except ValueError as error:
        meant = failures and 2 * max(known.values()) >= len(own)
        raise ValueError(failures[0] if meant else str(error)) from None


def _described(
    arrays: Arrays, description: str, architecture: str | Network | None
) -> tuple[Network, Params]:
    check_unnamed(architecture)
    net = Network.from_json(description)
    if (named := by_name(arrays, net)) is not None:
        return named[:2]
    check_params(net, {name: finite(name, array) for name, array in arrays.items()})
    raise ValueError(f"the arrays are not the parameters of {net.name}")


def _unprefixed(arrays: Arrays) -> tuple[dict[str, Stored], str]:
    """The arrays without counters and without what stands ahead of all their names."""
    names = [name for name in arrays if name.rpartition(".")[2] not in IGNORED]
    if generator := [name for name in names if name.startswith("generator.")]:
        names = generator  # of an adversarial pair
    prefix = ""
    while found := [p for p in PREFIXES if all(n.startswith(prefix + p) for n in names) and names]:
        prefix += found[0]
    return {name.removeprefix(prefix): arrays[name] for name in names}, prefix


def to_state(net: Network, params: Params, dialect: str = "sesr-ref") -> Params:
    """Parameters under the names and in the layout of a dialect.

    Parameters
    ----------
    net : Network
        For dialects that only describe SESR, with the layers that they describe.
    params : dict of arrays
        Its parameters.
    dialect : str
        A key of `DIALECTS`.

    Returns
    -------
    dict of arrays
        `from_state` reads them back.

    Raises
    ------
    ValueError
        If the dialect is unknown or describes another network.
    """
    check_params(net, {name: finite(name, array) for name, array in params.items()})
    one_of("dialect", dialect, sorted(DIALECTS))
    table = DIALECTS[dialect]
    return table.write(net, params) if table.write else write_table(table, net, params)
