"""Run the test bed's command line: `python tests/testbed/cluster.py --help`."""

import runpy
import sys
from pathlib import Path

# The package is imported as `testbed`; its own folder has no place in the import path.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    runpy.run_module("testbed", run_name="__main__")
