"""A command language for the demo: five slots in fixed order, 30 words a language, like GRID but two languages.

Words of a slot differ visibly in closures, rounding, lip biting or length
(measured in ``tests/data_prep/test_synthetic_texts.py``). All combinations are grammatical.
"""

import itertools

COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("move", "carry", "watch", "follow", "show", "buy"),
        ("two", "four", "five", "six", "some", "many"),
        ("blue", "purple", "white", "yellow", "silver", "gold"),
        ("boxes", "flowers", "shoes", "maps", "tomatoes", "guitars"),
        ("now", "please", "tomorrow", "forever", "slowly", "again"),
    ),
    "es": (
        ("mueve", "busca", "abre", "sigue", "compra", "pinta"),
        ("cinco", "seis", "ocho", "nueve", "once", "mil"),
        ("cajas", "flores", "mapas", "zapatos", "puertas", "huevos"),
        ("grises", "fuertes", "simples", "enormes", "rosas", "marrones"),
        ("ahora", "mañana", "siempre", "luego", "pronto", "aquí"),
    ),
}


def all_commands(language: str) -> list[str]:
    """Return all 7776 sentences of a language. ValueError for an unknown language."""
    if language not in COMMANDS:
        raise ValueError(
            f"the command grammar knows {', '.join(COMMANDS)}, not {language!r}; use text=sentences for others"
        )
    return [" ".join(words) for words in itertools.product(*COMMANDS[language])]
