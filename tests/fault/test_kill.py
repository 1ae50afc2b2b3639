# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""R1, R3, R4: the gateway is killed, wherever it happens to be; what it said stays true."""
import time


def test_what_was_accepted_survives_a_kill_at_any_moment(make_run, chance, rounds):
    run = make_run()
    run.start_gateway()
    run.start_load(seconds=3600)
    for _ in range(6 * rounds):
        time.sleep(chance.uniform(0.05, 1.2))
        run.kill_gateway()
        run.start_gateway()
    time.sleep(1)
    done = run.finish()
    assert done["handed"] > 500 and done["answered"] > 20, done
