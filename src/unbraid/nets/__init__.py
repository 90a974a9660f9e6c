"""Networks: backbones, decoders, quantisers; they know shapes, not methods."""
