#!/usr/bin/env python3
"""The clairvoyant optimum of scenario files by a general linear programme (scipy's HiGHS).

The independent check of Sources/Simulation/Oracle.swift: prints `name optimum` for each file,
`name infeasible` where no controller can meet the goal. Needs scipy; Tests/SimulationTests/OracleTests.swift
holds its results for random scenarios.
"""
import csv
import pathlib
import sys
import tomllib

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import lil_matrix


def optimum(path):
    scenario = tomllib.loads(path.read_text())
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader((path.parent / scenario["trace"]).open())]
    until = scenario["goal"]["until_s"]
    energy_scale = scenario.get("truth", {}).get("energy_scale", {})
    latency_scale = scenario.get("truth", {}).get("latency_scale", {})
    caps = scenario.get("limits", {}).get("unit_utilization", {})
    cuts = {0.0, float(until)}
    cuts |= {row["time_s"] for row in rows if 0 < row["time_s"] < until}
    for stream in scenario["stream"]:
        cuts |= {float(t) for t in (stream["start_s"], stream["end_s"]) if 0 < t < until}
    cuts = sorted(cuts)
    capacity = scenario["battery"]["capacity_wh"] * 3600
    columns, asked, net, live_of = [], 0.0, [], []
    for i, (start, end) in enumerate(zip(cuts, cuts[1:])):
        row = [r for r in rows if r["time_s"] <= start][-1] if rows[0]["time_s"] <= start else rows[0]
        net.append((row["harvest_w"] + scenario["battery"].get("charger_w", 0) * row["ac_online"] - row["base_w"]) * (end - start))
        live = [s for s, st in enumerate(scenario["stream"]) if st["start_s"] <= start < st["end_s"]]
        live_of.append(live)
        for s in live:
            stream = scenario["stream"][s]
            asked += stream["weight"] * (end - start)
            for option in scenario["option"]:
                unit = option["unit"]
                slow = latency_scale.get(unit, 1)
                if option["model"] != stream["model"] or option["quality"] < stream["floor"]:
                    continue
                if option["p99_ms"] * slow > stream["deadline_ms"] * (1 + 1e-12):
                    continue
                for cadence, factor in zip(stream["cadences"], stream["cadence_quality"]):
                    period = stream["hop_s"] * cadence
                    columns.append((i, s, unit, stream["weight"] * option["quality"] * factor * (end - start),
                                    option["joules"] * energy_scale.get(unit, 1) / period * (end - start),
                                    option["p50_ms"] / 1000 * slow / period))
    n, m = len(columns), len(net)
    # Variables: shares, stored energy at each interval's end, spill.
    total = n + 2 * m
    objective = np.zeros(total)
    objective[:n] = [-column[3] for column in columns]
    upper_rows, upper_limits = {}, []
    def row_of(key, limit):
        if key not in upper_rows:
            upper_rows[key] = len(upper_limits)
            upper_limits.append(limit)
        return upper_rows[key]
    entries = []
    for j, (i, s, unit, _, _, time) in enumerate(columns):
        entries.append((row_of(("stream", i, s), 1.0), j, 1.0))
        if unit in caps:
            entries.append((row_of(("unit", i, unit), caps[unit]), j, time))
    upper = lil_matrix((max(1, len(upper_limits)), total))
    for r, j, value in entries:
        upper[r, j] = value
    balance = lil_matrix((m, total))
    right = np.array(net)
    for j, (i, _, _, _, joules, _) in enumerate(columns):
        balance[i, j] = joules
    for i in range(m):
        balance[i, n + i] = 1
        balance[i, n + m + i] = 1
        if i:
            balance[i, n + i - 1] = -1
    right[0] += capacity * scenario["battery"]["initial_percent"] / 100
    bounds = [(0, None)] * n + [(0, capacity)] * m + [(0, None)] * m
    bounds[n + m - 1] = (capacity * scenario["goal"]["reserve_percent"] / 100, capacity)
    result = linprog(objective, A_ub=upper.tocsr(), b_ub=upper_limits or [1.0], A_eq=balance.tocsr(), b_eq=right, bounds=bounds, method="highs")
    return None if not result.success else -result.fun / asked


for name in sys.argv[1:]:
    path = pathlib.Path(name)
    value = optimum(path)
    print(path.stem, "infeasible" if value is None else f"{value:.9f}")
