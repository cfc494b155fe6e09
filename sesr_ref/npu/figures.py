"""Plots of the cost model (extra ``plot``): figure 1(b), roofline, timeline, sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sesr_ref.architectures import fsrcnn, sesr
from sesr_ref.counting import cost
from sesr_ref.extras import need
from sesr_ref.files import atomic_write
from sesr_ref.network import Network
from sesr_ref.npu.estimator import Estimate, estimate
from sesr_ref.npu.hardware import Npu
from sesr_ref.npu.sweep import SCALED, sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOMINAL_MACS_PER_SECOND = 2e12
"""Rate that the paper's figure 1(b) assumes for 4 TOP/s: a MAC is two operations."""
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
COLOURS = {"dram": "tab:blue", "compute": "tab:orange", "ple": "tab:green"}


def nominal_frame_rates(height: int = 1080, width: int = 1920) -> dict[str, float]:
    """Images per second if all of 2e12 multiply-accumulates per second were used.

    Parameters
    ----------
    height, width : int
        Pixels of the input, which is enlarged by 2.

    Returns
    -------
    dict of float
        For FSRCNN and the five SESR networks of the paper's figure 1(b).
    """
    return {
        label: NOMINAL_MACS_PER_SECOND / cost(net, height, width).macs
        for label, net in _figure_1b_networks().items()
    }


def _figure_1b_networks() -> dict[str, Network]:
    blocks = {f"M{m}": sesr(m, activation="relu", input_residual=False) for m in (3, 5, 7, 11)}
    xl = sesr(11, 32, activation="relu", input_residual=False)
    return {"FSRCNN": fsrcnn(2, activation="relu"), **blocks, "XL": xl}


def estimated_frame_rates(npu: Npu, model: str = "roofline") -> dict[str, float]:
    """Images per second for 1920 x 1080 to 3840 x 2160 by the cost model, for the same networks.

    Parameters
    ----------
    npu : Npu
        The NPU that runs them.
    model : str
        As for `estimate`.

    Returns
    -------
    dict of float
    """
    return {
        label: estimate(net, 1080, 1920, npu, model).frames_per_second
        for label, net in _figure_1b_networks().items()
    }


def plot_costs(path: str | Path, net: Network, result: Estimate, overwrite: bool = False) -> None:
    """Write one PNG: roofline, timeline, figure 1(b) and the gain from more hardware.

    Parameters
    ----------
    path : str or Path
        File to write.
    net : Network
        The network that was estimated.
    result : Estimate
        Its estimate, shown pass by pass.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    ImportError
        If matplotlib is not installed, naming the extra.
    FileExistsError
        If `path` exists and `overwrite` is false.
    """
    figure = need("matplotlib.figure", "plot", "plots").Figure(
        figsize=(14, 10), layout="constrained"
    )
    need("matplotlib.backends.backend_agg", "plot", "plots").FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 2)
    draw_roofline(axes[0, 0], result)
    draw_timeline(axes[0, 1], result)
    draw_figure_1b(axes[1, 0], result.npu, result.model)
    draw_sweeps(axes[1, 1], net, result)
    size = f"{result.width} x {result.height}"
    figure.suptitle(f"{result.network}, {size} input, {result.npu.name}, {result.model}")
    with atomic_write(Path(path), overwrite) as stream:
        figure.savefig(stream, format="png", dpi=100)


def draw_roofline(axes: Axes, result: Estimate) -> None:
    """Draw every pass as a point: MACs per DRAM byte against MACs per second."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    npu = result.npu
    bandwidth = (
        npu.dram_bytes_per_second if result.model == "roofline" else npu.fitted_bytes_per_second
    )
    names: dict[tuple[float, float, str], list[str]] = {}
    for p in result.passes:
        if p.macs and p.latency_ms:
            place = p.macs / max(p.dram_bytes, 1), p.macs / p.latency_ms * 1e3, p.bound
            names.setdefault(place, []).append(p.name)
    for (intensity, rate, bound), passes in names.items():
        axes.loglog(intensity, rate, "o", color=COLOURS[bound])
        axes.annotate(", ".join(passes), (intensity, rate), fontsize=7)
    ridge = npu.macs_per_second / bandwidth
    spread = [ridge, *(intensity for intensity, _, _ in names)]
    low, high = min(spread) / 2, max(spread) * 2
    axes.loglog([low, ridge, high], [low * bandwidth, *[npu.macs_per_second] * 2], "k-", lw=1)
    axes.axhline(2.25 * npu.macs_per_second, color="k", lw=1, ls=":", label="3 x 3 by Winograd")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(EngFormatter())
        axis.set_minor_locator(NullLocator())
    axes.legend(fontsize=7)
    axes.set(xlabel="MACs per DRAM byte", ylabel="MACs per second", title="Roofline")


def draw_timeline(axes: Axes, result: Estimate) -> None:
    """Draw the passes one after another, coloured by the resource that limits them."""
    start = 0.0
    for i, p in enumerate(result.passes):
        axes.barh(i, p.latency_ms, left=start, color=COLOURS[p.bound])
        start += p.latency_ms
    axes.set_yticks(range(len(result.passes)), [p.name for p in result.passes], fontsize=7)
    axes.invert_yaxis()
    for bound, colour in COLOURS.items():
        axes.barh(0, 0, color=colour, label=bound)
    axes.legend(title="bound by")
    axes.set(xlabel="ms", title=f"{result.latency_ms:.2f} ms, {result.frames_per_second:.1f} FPS")


def draw_figure_1b(axes: Axes, npu: Npu, model: str) -> None:
    """Draw the paper's figure 1(b): the nominal and the estimated frame rates."""
    nominal, estimated = nominal_frame_rates(), estimated_frame_rates(npu, model)
    places = range(len(nominal))
    axes.bar([i - 0.2 for i in places], list(nominal.values()), 0.4, label="2e12 MAC/s used fully")
    axes.bar([i + 0.2 for i in places], list(estimated.values()), 0.4, label=f"{model} estimate")
    axes.axhline(60, color="gray", lw=1, ls="--")
    axes.set_xticks(list(places), list(nominal))
    axes.legend()
    axes.set(ylabel="FPS", title="1920 x 1080 to 3840 x 2160 (figure 1(b))")


def draw_sweeps(
    axes: Axes, net: Network, result: Estimate, factors: Sequence[float] = FACTORS
) -> None:
    """Draw the frame rate against the amount of each resource, for two ways of execution."""
    for colour, resource in zip(("tab:blue", "tab:orange", "tab:green"), SCALED, strict=True):
        for execution, line in (("layer by layer", "-"), ("depth-first", "--")):
            found = sweep(
                net, result.height, result.width, result.npu, resource, factors, execution
            )
            there = [p for p in found if p.frames_per_second is not None]
            axes.loglog(
                [p.factor for p in there],
                [p.frames_per_second or 0.0 for p in there],
                line,
                color=colour,
                marker=".",
                label=f"{resource}, {execution}",
            )
    axes.axhline(60, color="gray", lw=1, ls=":")
    axes.legend(fontsize=7)
    axes.set(xlabel="times as much", ylabel="FPS", title="What more hardware brings")
