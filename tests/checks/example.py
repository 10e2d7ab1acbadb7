"""The algorithm of the documentation, loaded as a module named `checked_cem`."""

import importlib.util
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "thirdparty" / "wallstop" / "wallstop" / "algorithm.py"
source = importlib.util.spec_from_file_location("checked_cem", SOURCE)
cem = sys.modules["checked_cem"] = importlib.util.module_from_spec(source)
source.loader.exec_module(cem)
