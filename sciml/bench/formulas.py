"""Formulas of docstrings as HTML: Greek letters, subscripts, nabla."""

import html
import re

from markupsafe import Markup

_LETTERS = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "eta": "η",
    "mu": "μ",
    "nu": "ν",
    "kappa": "κ",
    "omega": "ω",
    "phi": "φ",
    "pi": "π",
    "psi": "ψ",
    "Laplace": "Δ",
    "grad": "∇",
    "div": "∇·",
}


def formula_html(text: str) -> Markup:
    """`u_t + u u_x = nu u_xx` with subscripts and Greek letters; words stay as they are."""
    escaped = html.escape(text, quote=False)
    for word, letter in _LETTERS.items():
        escaped = re.sub(rf"(?<![A-Za-z]){word}(?![A-Za-z])", letter, escaped)
    escaped = re.sub(r"(?<=\w)_(\w+)", r"<sub>\1</sub>", escaped)
    escaped = re.sub(r"\^(\w+)", r"<sup>\1</sup>", escaped)
    return Markup(escaped.replace(" . ", " · ").replace(" - ", " − "))


def plain_name(name: str) -> str:
    """`KortewegDeVries` as `Korteweg de Vries`: the name of a class in words."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|\d+[A-Z]?", name)
    text = " ".join(words).replace(" De ", " de ")
    for pair in ("Kuramoto Sivashinsky", "Allen Cahn", "Cahn Hilliard", "Swift Hohenberg"):
        text = text.replace(pair, pair.replace(" ", "-"))
    for pair in ("Ginzburg Landau", "Gray Scott", "Navier Stokes", "Fisher KPP", "Hyper Diffusion"):
        text = text.replace(pair, pair.replace(" ", "-"))
    text = text.replace("Korteweg de", "Korteweg-de")
    return text.replace("Schroedinger", "Schrödinger").replace("2 D", "2D").replace("3 D", "3D")
