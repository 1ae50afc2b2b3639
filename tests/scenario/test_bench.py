# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""The exchange benchmark runs to its end: that it measures, not what it measures."""
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_benchmark_prints_what_it_promises():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a short name: a socket's has 100 bytes
        check(pathlib.Path(folder))


def check(folder):
    out = folder / "report.json"
    env = {**os.environ, "EHIS_BIN": os.environ.get("EHIS_RELEASE_BIN", str(ROOT / "build/release/bin"))}
    done = subprocess.run([ROOT / "tests/bench/exchange", "--runs", "1", "--seconds", "1", "--pairs", "2", "--window", "16", "--segment", "64MiB", "--dir", folder,
                           "--json", out], env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {r["phase"]: r for r in json.loads(out.read_text())["results"]}
    assert set(results) == {"single", "batch", "call"}
    for r in results.values():
        assert r["messages"] > 0
        assert 0 < r["p50_us"] <= r["p99_us"] <= r["p999_us"]
        assert r["gateway_cpu_us"] > 0 and r["flushes_per_message"] > 0 and r["gateway_peak_mib"] > 0 and r["fdatasync_p50_us"] > 0
