"""For all tests: the windows job's package is found, behind PySpark."""

import sys

from repository import ROOT

sys.path.append(str(ROOT / "pyspark"))  # at the end, or its pyspark.py would be found in place of PySpark
