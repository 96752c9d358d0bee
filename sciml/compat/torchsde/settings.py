"""The words that torchsde's functions take, under the names of its module `settings`."""


class _Words(type):
    """A class that holds words."""

    def all(cls) -> list[str]:
        """The words, sorted."""
        return sorted(word for name, word in vars(cls).items() if not name.startswith("__"))

    def __str__(cls) -> str:
        return str(cls.all())

    def __contains__(cls, word: object) -> bool:
        return word in cls.all()


class METHODS(metaclass=_Words):
    """Names of methods."""

    euler = "euler"
    milstein = "milstein"
    srk = "srk"
    midpoint = "midpoint"
    reversible_heun = "reversible_heun"
    adjoint_reversible_heun = "adjoint_reversible_heun"
    heun = "heun"
    log_ode_midpoint = "log_ode"
    euler_heun = "euler_heun"


class NOISE_TYPES(metaclass=_Words):
    """What the diffusion looks like."""

    general = "general"
    diagonal = "diagonal"
    scalar = "scalar"
    additive = "additive"


class SDE_TYPES(metaclass=_Words):
    """In which sense the integral over dW is meant."""

    ito = "ito"
    stratonovich = "stratonovich"


class LEVY_AREA_APPROXIMATIONS(metaclass=_Words):
    """What an increment of Brownian motion holds beside W."""

    none = "none"
    space_time = "space-time"
    davie = "davie"
    foster = "foster"


class METHOD_OPTIONS(metaclass=_Words):
    """Keys of `options`."""

    grad_free = "grad_free"  # Milstein's method by differences instead of derivatives
