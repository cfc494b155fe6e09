"""State dicts that do not say which network they are of: found by names, or order and shapes.

A state dict lists its modules in the order in which they were made, which is that of the layers as
a rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

from sesr_ref import network as nw
from sesr_ref.architectures import architecture, architectures
from sesr_ref.collapse import collapsed, expanded
from sesr_ref.exchange.blocks import find_linear_blocks
from sesr_ref.exchange.layouts import ours
from sesr_ref.exchange.modules import Arrays, modules_of
from sesr_ref.exchange.placing import Fit, Misfit, placed
from sesr_ref.exchange.sizes import sized
from sesr_ref.exchange.torch.names import torch_names
from sesr_ref.exchange.values import finite


def as_network(arrays: Arrays, net: nw.Network, ordered: bool = True) -> Fit:
    """Take arrays for the parameters of a network.

    Parameters
    ----------
    arrays : dict of arrays
        Of a state dict.
    net : Network
        The arrays may be those of its expanded or collapsed form, and for FSRCNN and SESR of other
        sizes.
    ordered : bool
        Whether the arrays are in the order of the layers.

    Returns
    -------
    Fit
        The form that fits.

    Raises
    ------
    ValueError
        Naming the first convolution that does not fit, with both shapes.
    """
    for form in _forms(net):
        if (named := by_name(arrays, form)) is not None:
            return named
    modules = modules_of(arrays, ordered)
    others = [each for each in sized(modules.shapes, ordered) if each.name == net.name]
    tried = [placed(modules, form) for each in (net, *others) for form in _primitive(each)]
    fits = [each for each in tried if isinstance(each, Fit)]
    if not fits:
        raise ValueError(_nearest(tried))
    return _with_blocks(fits[0])


def guessed(arrays: Arrays, ordered: bool = True) -> Fit:
    """Find the network with a name that arrays are the parameters of.

    Parameters
    ----------
    arrays : dict of arrays
        Of a state dict.
    ordered : bool
        Whether they are in the order of the layers.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If there is none, with the convolution that keeps the nearest one from fitting; if there are
        several, with their names.
    """
    forms = _known_forms()
    fits = [fit for form in forms if (fit := by_name(arrays, form))]
    if not fits:
        modules = modules_of(arrays, ordered)
        others = sized(modules.shapes, ordered)
        primitive = [
            form for form in forms if set(nw.PRIMITIVES).issuperset(map(type, form.layers))
        ]
        primitive += [form for net in others for form in _primitive(net)]
        tried = [placed(modules, form) for form in primitive]
        fits = [each for each in tried if isinstance(each, Fit)]
        if not fits:
            raise ValueError(f"fits no network that has a name; the nearest: {_nearest(tried)}")
        fits = [_with_blocks(fit) for fit in fits if not fit.adapted] or fits
    return _only(fits)


def _only(fits: Sequence[Fit]) -> Fit:
    """The one network among those that fit, whatever it is called."""
    different = {fit.net.layers: fit for fit in reversed(fits)}
    if len(different) > 1:
        names = ", ".join(sorted(fit.net.name for fit in different.values()))
        raise ValueError(f"fits several networks alike: say which one with --as ({names})")
    return fits[0]


def _with_blocks(fit: Fit) -> Fit:
    """Pairs of convolutions as the linear blocks that they are."""
    net, params = find_linear_blocks(fit.net, fit.params)
    return Fit(net, params, fit.adapted)


def _nearest(tried: Sequence[Fit | Misfit]) -> str:
    """What keeps the network from fitting of which most modules do."""
    misfits = [each for each in tried if isinstance(each, Misfit)]
    return max(misfits, key=lambda misfit: misfit.depth).words


@cache
def _known_forms() -> tuple[nw.Network, ...]:
    """Every network with a name in each of its forms."""
    return tuple(form for name in architectures() for form in _forms(architecture(name)))


def _forms(net: nw.Network) -> Iterator[nw.Network]:
    """A network as it may be written down: as it is, expanded, collapsed."""
    if collapsed(net) != net:
        yield net
    yield from _primitive(net)


def _primitive(net: nw.Network) -> Iterator[nw.Network]:
    small = collapsed(net)
    if small != net:
        with suppress(nw.NetworkError):  # leaky blocks have no expanded form
            yield expanded(net)
    yield small


def by_name(arrays: Arrays, net: nw.Network) -> Fit | None:
    """The arrays under our own names, or those of a PyTorch module that has ours.

    Parameters
    ----------
    arrays : dict of arrays
        Without counters.
    net : Network
        With linear blocks or without.

    Returns
    -------
    Fit or None
        None where names or shapes are others.
    """
    shapes = net.param_shapes()
    if len(shapes) != len(arrays):
        return None
    own = {name: (name, "as is") for name in shapes}
    for names in (own, _torch_names(net)):
        if {name for name, _ in names.values()} != set(arrays):
            continue
        params = {name: ours(arrays[their], layout) for name, (their, layout) in names.items()}
        if all(params[name].shape == shape for name, shape in shapes.items()):
            return Fit(net, {name: finite(name, array) for name, array in params.items()})
    return None


def _torch_names(net: nw.Network) -> dict[str, tuple[str, str]]:
    try:
        return torch_names(net)
    except nw.NetworkError:  # leaky blocks have no expanded form
        return {}
