"""Give runs that were recorded before a setting existed the value that it had for them, where its default is another.

A setting whose default changes nothing needs no entry: what is missing is read as the default.
"""

from __future__ import annotations

from typing import Any

ADDED: dict[str, dict[str, Any]] = {
    name: {"layer_norm": False} for name in ("crr", "loop-crr", "safeloop-crr", "loop-crr-online")
}
"""Settings by algorithm, with the values that stood for them in the code before."""


def with_added_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a `settings.json` with the settings that were added to its algorithm since.

    Raises `TypeError` where its settings are no mapping.
    """
    missing = ADDED.get(values.get("algo", ""), {})
    return {**values, "algo_settings": {**missing, **values.get("algo_settings", {})}} if missing else values
