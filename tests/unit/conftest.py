# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of the property tests: a gate gives the same answer every time, a search does not."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine must not fail a test: no deadline, and no complaint about slow generation.
settings.register_profile(
    "gate", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# For looking further by hand: ./run test unit -- tests/unit --hypothesis-profile=search
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("gate")
