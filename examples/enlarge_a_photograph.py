"""
Enlarge a photograph
====================

A shipped network makes a photograph twice as large. To see what that is worth, the photograph is
reduced first and compared with the original afterwards.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

import sesr_ref as sr

# %%
# A photograph
# ------------
#
# Scikit-image ships one; without scikit-image a picture is drawn. Your own comes from
# ``sr.read_image("photo.jpg").pixels``: (height, width, 3), 8 bit.


def drawn_picture() -> np.ndarray:
    """Draw letters and curves, (256, 384, 3), 8 bit."""
    figure = plt.figure(figsize=(3.84, 2.56), dpi=100)
    for i in range(8):
        figure.text(0.02 + i / 60, 0.88 - i / 9, "Sphinx of black quartz, judge my vow", size=7 + i)
    axes = figure.add_axes((0.55, 0.05, 0.42, 0.42))
    axes.plot(np.sin(np.linspace(0, 60, 900)) * np.linspace(0, 1, 900), linewidth=0.8)
    figure.canvas.draw()
    pixels = np.array(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    plt.close(figure)
    return pixels


try:
    from skimage import data

    photo, detail = data.astronaut(), (slice(326, 398), slice(262, 358))  # her name tag
except ImportError:
    photo, detail = drawn_picture(), (slice(20, 92), slice(0, 96))

# %%
# Twice as large
# --------------
#
# The network sees Y alone; Cb and Cr are enlarged with bicubic interpolation.
# ``sesr-ref upscale photo.png -o large.png`` does the same with a file. This is NumPy alone; with
# the extra ``fast``, ``ops=sr.fast()`` takes compiled kernels, a fifth of the time and less for
# large images. The first call compiles them, once, up to 20 s.

net, params = sr.load("sesr-m5-x2-collapsed")
low = sr.imresize(photo, 1 / 2)
large = sr.upscale_image(low, net, params, ops=sr.REFERENCE)
bicubic = sr.imresize(low, 2)
print(f"{net.name}: {low.shape} -> {large.shape}")

# %%
# Which one is nearer to the original?
# ------------------------------------
#
# PSNR is measured on Y, as the papers do. Every 10 dB mean a tenth of the squared error.


def luma(image: np.ndarray) -> np.ndarray:
    """Return Y of an 8-bit RGB image."""
    return sr.rgb_to_ycbcr(image.astype(np.float32) / 255)[..., 0]


for name, image in {"bicubic": bicubic, net.name: large}.items():
    print(f"{name:22} {sr.psnr(luma(photo), luma(image), border=2, peak=1.0):.2f} dB")

# %%
# A detail
# --------

given = low.repeat(2, axis=0).repeat(2, axis=1)
pictures = {"pixels given": given, "bicubic": bicubic, net.name: large, "original": photo}
figure, axes = plt.subplots(1, 4, figsize=(12, 2.6), layout="constrained")
for axis, (name, image) in zip(axes, pictures.items(), strict=True):
    axis.imshow(image[detail], interpolation="nearest")
    axis.set_title(name)
    axis.axis("off")
plt.show()
