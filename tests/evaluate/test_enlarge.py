"""Whole images through a network: kinds, tiles, transparency."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from sesr_ref import network as nw
from sesr_ref.images import Pixels, from_float
from sesr_ref.network import Network, Resize
from sesr_ref.ops.arrays import Params

# The smallest network that interpolates: whatever the colours do, Y does as well.
BICUBIC = Network("bicubic", 2, 1, (Resize("resize", 2),))
BICUBIC4 = Network("bicubic", 4, 1, (Resize("resize", 4),))
Model = tuple[Network, Params]


@pytest.fixture
def model() -> Model:
    """A small SESR whose output is an image: the input enlarged, and a little noise."""
    net = sr.sesr(blocks=2, features=4, expand=8)
    params = sr.initialise(net, seed=3)
    return net, params | {"tail.project": params["tail.project"] * np.float32(0.1)}


@pytest.mark.parametrize("shape", [(13, 9), (13, 9, 1), (13, 9, 2), (13, 9, 3), (13, 9, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_an_image_is_enlarged_and_keeps_its_kind(
    rng: np.random.Generator, model: Model, shape: tuple[int, ...], dtype: type
) -> None:
    image = from_float(rng.random(shape), dtype)
    enlarged = sr.upscale_image(image, *model)
    assert enlarged.shape == (26, 18, *shape[2:])
    assert enlarged.dtype == dtype
    small = sr.imresize(enlarged, 0.5) / (1 if image.dtype.kind == "f" else np.iinfo(dtype).max)
    original = image / (1 if image.dtype.kind == "f" else np.iinfo(dtype).max)
    assert np.abs(small - original).mean() < 0.15  # the same picture, not another


def test_a_network_that_interpolates_gives_bicubic_interpolation(rng: np.random.Generator) -> None:
    image = 0.3 + 0.4 * rng.random((11, 17, 3))
    for net in (BICUBIC, BICUBIC4):
        expected = sr.imresize(image, net.upscale)
        np.testing.assert_allclose(sr.upscale_image(image, net, {}), expected, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("tile", [None, 5])
def test_a_network_on_rgb_sees_the_colours_themselves(
    rng: np.random.Generator, channels: int, tile: int | None
) -> None:
    net = Network("rgb", 2, 3, (nw.Conv("mix", 12, 3), nw.DepthToSpace("shuffle", 2)))
    params: Params = {"mix.weight": rng.random((3, 3, 3, 12)) / 30}
    image = rng.random((11, 17, channels))
    if channels in (2, 4):
        image[..., -1] = 1
    enlarged = sr.upscale_image(image, net, params, tile=tile)
    colours = image[..., : channels - 1] if channels in (2, 4) else image
    seen = np.broadcast_to(colours, (11, 17, 3))
    expected = sr.run(net, params, np.ascontiguousarray(seen)[None])[0]
    expected = expected.mean(2, keepdims=True) if channels < 3 else expected
    assert enlarged.shape == (22, 34, channels)
    np.testing.assert_allclose(enlarged[..., : expected.shape[2]], expected, atol=1e-12)
    if channels in (2, 4):
        np.testing.assert_allclose(enlarged[..., -1], 1)


def test_the_luma_of_the_result_is_the_networks(rng: np.random.Generator, model: Model) -> None:
    image = 0.4 + 0.2 * rng.random((11, 17, 3))
    luma = sr.rgb_to_ycbcr(image)[None, ..., :1]
    enlarged = sr.rgb_to_ycbcr(sr.upscale_image(image, *model))
    np.testing.assert_allclose(enlarged[None, ..., :1], sr.run(*model, luma), atol=1e-6)


def test_grey_enlarges_as_rgb_of_three_equal_channels(
    rng: np.random.Generator, model: Model
) -> None:
    grey = rng.random((10, 12))
    colour = sr.upscale_image(np.repeat(grey[..., None], 3, 2), *model)
    expected = np.repeat(sr.upscale_image(grey, *model)[..., None], 3, 2)
    np.testing.assert_allclose(colour, expected, atol=1e-9)


@pytest.mark.parametrize("kind", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("tile", [3, 7, (5, 64), (64, 6)])
def test_tiles_leave_no_seams(
    rng: np.random.Generator, model: Model, kind: tuple[int, ...], tile: int | tuple[int, int]
) -> None:
    image = rng.random((23, 19, *kind))
    if kind in {(2,), (4,)}:
        image[..., -1] = rng.choice([0, 0, 0, 0.5, 1], image.shape[:2])
        image[3:20, 2:18, -1] = 0  # deeper than colours are continued
    whole = sr.upscale_image(image, *model)
    np.testing.assert_allclose(sr.upscale_image(image, *model, tile=tile), whole, atol=1e-9)


@pytest.mark.parametrize("kind", [(), (4,)])
def test_tiles_do_not_change_a_bit_with_the_kernels(
    rng: np.random.Generator, model: Model, kind: tuple[int, ...]
) -> None:
    need_kernels()
    image = rng.random((45, 61, *kind)).astype(np.float32)
    whole = sr.upscale_image(image, *model, ops=sr.fast())
    for tile in (17, (8, 64)):
        tiled = sr.upscale_image(image, *model, ops=sr.fast(), tile=tile)
        np.testing.assert_array_equal(tiled, whole)


def test_the_kernels_agree_with_the_reference(rng: np.random.Generator, model: Model) -> None:
    need_kernels()
    image = rng.random((21, 34, 3)).astype(np.float32)
    expected = sr.upscale_image(image, *model)
    np.testing.assert_allclose(sr.upscale_image(image, *model, ops=sr.fast()), expected, atol=1e-5)


def test_an_image_larger_than_a_tile_is_cut_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesr_ref.evaluate.enlarge.LARGEST_TILE", 8)
    image = np.random.default_rng(5).random((17, 30))
    done: list[int] = []
    enlarged = sr.upscale_image(image, BICUBIC, {}, progress=done.append)
    np.testing.assert_allclose(enlarged, np.clip(sr.imresize(image, 2), 0, 1), atol=1e-12)
    assert len(done) == 3 * 4
    assert done[-1] == 17 * 30


def test_opaque_images_do_not_depend_on_their_alpha_channel(
    rng: np.random.Generator, model: Model
) -> None:
    image = rng.integers(0, 256, (12, 15, 4), np.uint8)
    image[..., 3] = 255
    enlarged = sr.upscale_image(image, *model)
    np.testing.assert_array_equal(enlarged[..., 3], 255)
    np.testing.assert_array_equal(enlarged[..., :3], sr.upscale_image(image[..., :3], *model))


def test_transparency_is_enlarged_bicubically(rng: np.random.Generator, model: Model) -> None:
    image = rng.random((12, 15, 2))
    expected = np.clip(sr.imresize(image[..., 1], 2), 0, 1)
    np.testing.assert_allclose(sr.upscale_image(image, *model)[..., 1], expected, atol=1e-12)


@pytest.mark.parametrize("channels", [2, 4])
def test_colours_of_transparent_pixels_do_not_reach_visible_ones(
    rng: np.random.Generator, model: Model, channels: int
) -> None:
    image = rng.random((40, 37, channels))
    image[..., -1] = 0
    image[14:22, 11:25, -1] = 1
    hidden = image[..., -1] == 0
    other = image.copy()
    other[hidden, :-1] = rng.random(channels - 1)
    a, b = sr.upscale_image(image, *model), sr.upscale_image(other, *model)
    np.testing.assert_array_equal(a, b)


def test_a_visible_colour_keeps_its_value_up_to_its_transparent_edge() -> None:
    image = np.zeros((20, 20, 4), np.uint8)
    image[:, 8:] = (200, 40, 90, 255)  # beside transparent black
    enlarged = sr.upscale_image(image, BICUBIC, {})
    visible = enlarged[..., 3] > 0
    assert visible[:, 15:].all()
    assert np.abs(enlarged[visible][:, :3].astype(int) - (200, 40, 90)).max() <= 1


def test_a_fully_transparent_image_stays_fully_transparent() -> None:
    enlarged = sr.upscale_image(np.zeros((5, 6, 4), np.uint8), BICUBIC, {})
    np.testing.assert_array_equal(enlarged[..., 3], 0)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_are_preserved(value: int) -> None:
    for shape in [(9, 8), (9, 8, 3)]:
        image = np.full(shape, value, np.uint8)
        np.testing.assert_array_equal(sr.upscale_image(image, BICUBIC, {}), value)


def _with_weights_that_overflow(image: Pixels) -> Pixels:
    shapes = SMALL.param_shapes().items()
    weights: Params = {name: np.full(shape, 1e100) for name, shape in shapes}
    with np.errstate(all="ignore"):
        return sr.upscale_image(image + 255, SMALL, weights)


def _nan_weights(net: Network) -> Params:
    return {name: array * np.nan for name, array in sr.initialise(net).items()}


SMALL = sr.sesr(1, 2, expand=2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "the number of channels must be 1 to 4, got 5"),
        (np.zeros((2, 4, 4, 3), np.uint8), "height, width"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((4, 4), np.int16), "int16"),
        ([[0.5]], "must be a NumPy array, got list"),
        (None, "must be a NumPy array, got NoneType"),
        (np.full((4, 4), np.nan), "NaN or infinite values in the image"),
        (np.full((4, 4), np.inf, np.float32), "NaN or infinite values in the image"),
        (np.full((4, 4), 255.0), r"in \[0, 1\], got \(255\.0, 255\.0\)"),
    ],
)
def test_invalid_images_are_rejected(image: Pixels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sr.upscale_image(image, BICUBIC, {})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sr.upscale_image(x, SMALL, _nan_weights(SMALL)), "NaN or infinite values"),
        (_with_weights_that_overflow, "NaN or infinite values in the enlarged image"),
        (lambda x: sr.upscale_image(x, SMALL, {}), "missing"),
        (lambda x: sr.upscale_image(x, BICUBIC, {}, tile=0), "tile"),
        (lambda x: sr.upscale_image(x, BICUBIC, {}, tile=(4, -1)), "tile"),
        (
            lambda x: sr.upscale_image(x, Network("flow", 2, 2, (Resize("resize", 2),)), {}),
            r"flow: the number of channels must be 1 \(Y\) or 3 \(RGB\), got 2",
        ),
    ],
)
def test_networks_and_tiles_that_do_not_fit_are_rejected(
    call: Callable[[Pixels], Pixels], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.zeros((4, 4, 3), np.uint8))
