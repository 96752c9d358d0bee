"""The type checker behind the jaxtyping hook: beartype, with an int accepted where a float is declared (PEP 484)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
