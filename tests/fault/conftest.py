# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""One country for all fault tests; a journal and a gateway of its own for each."""
import pathlib
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import fault_load  # noqa: E402
from fault_load import ROUNDS, SEED  # noqa: E402
from kafka_cluster import kafka  # noqa: E402, F401


def pytest_report_header():
    return f"faults: seed {SEED}, rounds {ROUNDS}"


@pytest.fixture(scope="session")
def country(tmp_path_factory):
    return fault_load.Country(tmp_path_factory.mktemp("country"), pairs=3)


@pytest.fixture
def chance(request):
    """Random numbers of this test, by the seed; printed where it fails."""
    print(f"EHIS_FAULT_SEED={SEED} EHIS_FAULT_ROUNDS={ROUNDS}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def rounds():
    return ROUNDS


@pytest.fixture
def make_run(country, tmp_path):
    made = []

    def make(**more):
        made.append(fault_load.Run(country, tmp_path, **more))
        return made[-1]
    yield make
    for run in made:
        run.__exit__()
