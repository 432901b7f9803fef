"""Who calls whom: Spanish numbers that exist in the plan, names with accents, amounts of money."""

from typing import Final

from hub.simulator.dice import Dice

# Geographic ranges with nine digits in which every subscriber number may exist: Madrid, Barcelona, Sevilla, Valencia…
_AREAS: Final = ("91", "93", "951", "954", "955", "956", "960", "961", "963", "981", "985")
_NUMBER_DIGITS: Final = 9

AGENTS: Final = (
    ("1001", "Kasper", "1234", "kasper"),
    ("1002", "Begoña Ibáñez", "1235", "b.ibanez"),
    ("1003", "José María Núñez", "1236", "jm.nunez"),
    ("1004", "Ángela Peña", "1237", "a.pena"),
    ("1005", "Íñigo Güell", "1238", "i.guell"),
)
"""Extension, name, user id, login: the people of a FocalScope desk."""

QUEUES: Final = ("Ventas", "Atención al cliente", "Soporte técnico", "Facturación")

CUSTOMERS: Final = (
    "Muñoz & Hijos",
    "Lucía Fernández",
    "L'Hospitalet Envíos",
    'Peluquería "Añil"',
    "Núria Solé",
    "Ferretería Güemes",
    "Joaquín <Quino> Sáez",
    "Tomás Ordóñez",
)
"""Values of variables: accents, and each of the five characters that Infocaller reserves."""

RULES: Final = ("Horario comercial", "Fin de semana", "Campaña de otoño", "Atención 24 h")


def geographic(dice: Dice) -> str:
    """A Spanish fixed number, nine digits."""
    area = dice.pick(_AREAS)
    # The digit after the area is never 0: some ranges that start so are kept for services.
    return f"{area}{dice.integer(1, 8)}{dice.digits(_NUMBER_DIGITS - 1 - len(area))}"


def mobile(dice: Dice) -> str:
    """A Spanish mobile number, nine digits."""
    return f"6{dice.integer(0, 9)}{dice.integer(1, 9)}{dice.digits(6)}"


def caller(dice: Dice) -> str:
    """Somebody who rings: two in three from a mobile."""
    return mobile(dice) if dice.chance(2 / 3) else geographic(dice)


def amount(dice: Dice, low: float, high: float) -> str:
    """An amount of euros with two to four decimals, as actions print it: ``0.05``."""
    return f"{dice.integer(round(low * 10_000), round(high * 10_000)) / 10_000:.{dice.integer(2, 4)}f}"


def cost(dice: Dice, low: float, high: float) -> str:
    """A cost of a whole call with six decimals: ``0.120000``."""
    return f"{dice.integer(round(low * 10_000), round(high * 10_000)) / 10_000:.6f}"
