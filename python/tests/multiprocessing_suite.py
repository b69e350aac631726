"""CPython's multiprocessing tests: `python multiprocessing_suite.py METHOD [ARGUMENT]...`."""

import sys
import unittest

from test import _test_multiprocessing

# A child that imports this module has other arguments.
METHOD = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "spawn"

_test_multiprocessing.install_tests_in_module_dict(globals(), METHOD)

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
