"""Write the tables of the weather stations into ``docs/gallery.md`` from ``results/weather.json``.

``python benchmarks/weather_page.py`` replaces what stands between ``<!-- table: NAME -->`` and
``<!-- end -->``.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from measure import RESULTS, measured_by
from report import fill_page, table
from weather import SEASONS, SHARES
from weather_baselines import BASELINES, BOUNDS

PAGE = Path(__file__).parents[1] / "docs" / "gallery.md"

# What no baseline but these knows.
PAST = "past:"

# Published RMSE of the best of Tikhonov, nearest station and band-limited least squares on these
# data, at 10, 30 and 50 %.
PUBLISHED = {
    "us winter": (4.97, 3.00, 2.41),
    "us summer": (3.38, 2.72, 2.59),
    "australia winter": (2.73, 2.10, 1.89),
    "australia summer": (2.89, 2.12, 1.80),
}

Rows = dict[str, dict[str, list[float]]]


def country_table(rows: Rows, country: str) -> str:
    """RMSE of every method, mean and deviation over the masks; the best baseline in bold."""
    names = [f"{country} {season} {share:.0%}" for season in SEASONS for share in SHARES]
    if any(name not in rows for name in names):
        return "Not measured yet."
    best = {name: best_baseline(rows[name])[0] for name in names}
    methods = list(rows[names[0]])
    lines = []
    for method in sorted(methods, key=_rank):
        cells = []
        for name in names:
            errors = rows[name][method]
            cell = f"{statistics.mean(errors):.2f} ± {statistics.pstdev(errors):.2f}"
            cells.append(f"**{cell}**" if best[name] == method else cell)
        lines.append([method, *cells])
    headers = ["RMSE in °C", *(name.removeprefix(f"{country} ") for name in names)]
    return table(headers, lines)


def _rank(method: str) -> int:
    """Baselines first, networks last."""
    return 0 if method in BASELINES else 1 if method in BOUNDS else 2


def best_baseline(methods: dict[str, list[float]], past: bool = False) -> tuple[str, float]:
    """The baseline with the least mean error of a row, of those that know the past if ``past``."""
    means = {
        name: statistics.mean(methods[name])
        for name in methods
        if name in BASELINES and (past or not name.startswith(PAST))
    }
    name = min(means, key=means.__getitem__)
    return name, means[name]


def best_baselines(rows: Rows, past: bool = False) -> dict[str, float]:
    """Mean error of the best baseline of each row."""
    return {row: best_baseline(methods, past)[1] for row, methods in rows.items()}


def published(rows: Rows) -> dict[str, float]:
    """Published error of the best baseline of each row."""
    found = {
        f"{where} {share:.0%}": value
        for where, values in PUBLISHED.items()
        for share, value in zip(SHARES, values, strict=True)
    }
    return {row: found[row] for row in rows}


def summary(rows: Rows) -> str:
    """Change against the best baseline of each row: the mean over rows, and the worst row."""
    others = [m for m in next(iter(rows.values()), {}) if m not in BASELINES]
    if not others:
        return "Not measured yet."
    against = {
        "published": published(rows),
        "without the past": best_baselines(rows),
        "all": best_baselines(rows, past=True),
    }
    lines = []
    for method in sorted(others, key=_rank):
        for baselines, best in against.items():
            if baselines == "all" and not method.endswith("in place"):
                continue
            change = {
                row: statistics.mean(methods[method]) / best[row] - 1
                for row, methods in rows.items()
            }
            cells = []
            for country in dict.fromkeys(row.split()[0] for row in rows):
                here = {row: value for row, value in change.items() if row.startswith(country)}
                worst = max(here, key=here.__getitem__)
                cells.append(f"{statistics.mean(here.values()):+.0%}")
                cells.append(f"{here[worst]:+.0%} ({worst.removeprefix(country).strip()})")
            lines.append([method, baselines, *cells])
    headers = ["RMSE against the best baseline of each row", "baselines"]
    for country in dict.fromkeys(row.split()[0] for row in rows):
        headers += [f"{country}, mean", f"{country}, worst row"]
    return table(headers, lines)


def main() -> None:
    path = RESULTS / "weather.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = result.get("rows", {})
    texts = {f"weather {country}": country_table(rows, country) for country in ("us", "australia")}
    texts["weather summary"] = summary(rows)
    runs = {measured_by(facts) for facts in result.get("runs", {}).values()}
    texts["weather machine"] = "\n".join(sorted(runs)) or "Not measured yet."
    fill_page(PAGE, texts)


if __name__ == "__main__":
    main()
