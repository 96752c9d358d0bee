"""Integration methods: one engine per family, one small class per method."""

from sciml.integrate.methods.base import AbstractMethod, Step
from sciml.integrate.methods.etd import ETD1, ETD2RK, ETD3RK, ETDRK4

__all__ = ["ETD1", "ETD2RK", "ETD3RK", "ETDRK4", "AbstractMethod", "Step"]
