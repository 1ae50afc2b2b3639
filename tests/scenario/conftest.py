# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Fixtures over the real programs. world: a country of one's own with gateway and register running; country: the same, shared by
the tests of a file, for those that leave nothing behind; land: made, but nothing runs yet."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from kafka_cluster import kafka  # noqa: E402, F401
from world import World  # noqa: E402


@pytest.fixture
def land(tmp_path):
    with World(tmp_path / "az") as w:
        yield w


@pytest.fixture
def world(land):
    land.start_gateway()
    land.start_register()
    return land


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    with World(tmp_path_factory.mktemp("az")) as w:
        w.start_gateway()
        w.start_register()
        yield w


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    """A gateway with short deadlines and an honest witness; shared by the tests of a file, each with sessions of its own."""
    from arena import Arena  # needs python3-cryptography
    with World(tmp_path_factory.mktemp("az")) as w:
        w.write_gateway_settings(deadlines="{handshake: 3s, first_frame: 3s, frame: 3s, ping_every: 60s, ping_timeout: 120s}", limits="{sessions_per_system: 64}")
        w.start_gateway()
        yield Arena(w)
