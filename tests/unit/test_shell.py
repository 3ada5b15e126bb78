"""Tests find neither the developer's own stack nor the settings of the shell."""

import os
import subprocess
import sys

from local_stack import manager, paths
from repository import ROOT
from shell import SETTINGS

SET = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092", "KAFKA_PORT": "1", "WAIT": "1", "MAKEFLAGS": " -- WORKERS=1"}


def test_no_test_finds_the_developers_own_stack() -> None:
    """A unit test of `make reset` once stopped it."""
    assert not paths.STACK.is_relative_to(ROOT)
    assert manager.members() == {}


def test_no_test_takes_a_setting_from_the_shell() -> None:
    assert not SETTINGS & os.environ.keys()


def test_settings_of_the_shell_are_removed_before_the_tests() -> None:
    this = [sys.executable, "-m", "pytest", "-q", "-k", "no_test", __file__]
    done = subprocess.run(this, cwd=ROOT, env=os.environ | SET, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
