"""TensorFlow Lite files in and out, with NumPy alone."""

from sesr_ref.exchange.tflite.read import from_tflite
from sesr_ref.exchange.tflite.write import to_tflite

__all__ = ["from_tflite", "to_tflite"]
