"""What a generated PyTorch module needs that PyTorch has not: source, written only where used."""

from __future__ import annotations

DEPTH_TO_SPACE = '''
def depth_to_space(x: torch.Tensor, block: int) -> torch.Tensor:
    """TensorFlow's order of channels: row, column, channel."""
    n, channels, height, width = x.shape
    x = x.reshape(n, block, block, channels // block**2, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, block * height, block * width)
'''
BICUBIC = '''
def bicubic(x: torch.Tensor, phases: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    """MATLAB's enlargement (a = -0.5, edges mirrored), of images of at least 2 x 2 pixels."""
    scale, channels = len(phases), x.shape[1]
    for axis in (2, 3):
        first, last = x.narrow(axis, 0, 2), x.narrow(axis, x.shape[axis] - 2, 2)
        x = torch.cat([first.flip(axis), x, last.flip(axis)], axis)
    taps = x.new_tensor(phases)
    weight = (taps[:, None, :, None] * taps[None, :, None, :]).reshape(scale**2, 1, 5, 5)
    return F.pixel_shuffle(F.conv2d(x, weight.repeat(channels, 1, 1, 1), groups=channels), scale)
'''
GAIN = '''
class Gain(nn.Module):
    """One factor a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.view(-1, 1, 1)
'''
FAKE_QUANTIZE = '''
class FakeQuantize(nn.Module):
    """Rounding to a grid whose scale is learnt; the gradient passes straight through."""

    def __init__(self, zero_point: int, low: int, high: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.low, self.high = low - zero_point, high - zero_point

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.log_scale.exp()
        codes = x / scale
        codes = codes + (codes.round() - codes).detach()
        return codes.clamp(self.low, self.high) * scale
'''
STENCIL = '''
class Stencil(nn.Module):
    """Every channel convolved with the same taps, times a factor and plus a bias where learnt."""

    def __init__(
        self, channels: int, taps: tuple[tuple[float, ...], ...], factor: bool, bias: bool
    ) -> None:
        super().__init__()
        self.register_buffer("taps", torch.tensor(taps), persistent=False)
        self.factor = nn.Parameter(torch.ones(channels)) if factor else None
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = self.taps.shape
        weight = self.taps.to(x.dtype).expand(x.shape[1], 1, rows, columns)
        if self.factor is not None:
            weight = weight * self.factor.view(-1, 1, 1, 1)
        padding = (rows // 2, columns // 2)
        return F.conv2d(x, weight, self.bias, padding=padding, groups=x.shape[1])
'''
CUT_TRANSPOSED = '''
class CutConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution, `crop` rows cut off above, its output `stride` times as high."""

    def __init__(self, *args: int, crop: int, **options: int) -> None:
        super().__init__(*args, **options)
        self.crop = crop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2] * self.stride[0], x.shape[3] * self.stride[1]
        y = super().forward(F.pad(x, (0, 1, 0, 1)))
        return y[:, :, self.crop : self.crop + height, self.crop : self.crop + width]
'''
PARTS = {
    "depth_to_space": DEPTH_TO_SPACE,
    "bicubic": BICUBIC,
    "FakeQuantize": FAKE_QUANTIZE,
    "Gain": GAIN,
    "Stencil": STENCIL,
    "CutConvTranspose2d": CUT_TRANSPOSED,
}
"""Functions and classes by the names that they define."""
