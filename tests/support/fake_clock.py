# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""A process whose wall clock is off by as much as a test says, at any moment; its other clocks are true. Needs libfaketime."""
import glob
import os
import pathlib
import subprocess
import sys
import time

import pytest


def library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return found[0] if found else None


needs_faketime = pytest.mark.skipif(not library(), reason="libfaketime is not here")


class FakeClock:
    """env: what its process is started with. Skips the test where this libfaketime moves the monotonic clock as well: that is no clock that jumped."""

    def __init__(self, folder):
        self.file = pathlib.Path(folder) / "clock"
        self.env = {"LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
        self.set(3600)
        before = time.monotonic()
        said = subprocess.run([sys.executable, "-c", "import time; print(time.time(), time.monotonic())"], env={**os.environ, **self.env},
                              capture_output=True, text=True, check=True).stdout.split()
        assert abs(float(said[0]) - time.time() - 3600) < 60, said
        if not before <= float(said[1]) <= time.monotonic():
            pytest.skip("libfaketime moves the monotonic clock too")
        self.set(0)

    def set(self, seconds):
        """Ahead of the true time by so much. At once: a reader never finds half of it."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s")
        new.rename(self.file)
