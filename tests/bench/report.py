"""Medians of the rounds, and the table that shows them."""

import statistics

# Column title, figure, format, whether more is better (None: not compared).
COLUMNS = [
    ("1 stream Gbit/s", "gbits_1", "%.2f", True),
    ("8 streams Gbit/s", "gbits_8", "%.2f", True),
    ("CPU s/GiB, 1", "cpu_s_per_gib_1", "%.2f", False),
    ("CPU s/GiB, 8", "cpu_s_per_gib_8", "%.2f", False),
    ("HTTP p50 us, 1 conn", "http_p50_us", "%.0f", False),
    ("HTTP req/s, 64 conns", "http_requests_per_s", "%.0f", True),
    ("new conns/s", "new_connections_per_s", "%.0f", True),
    ("RSS idle MiB", "rss_idle_mib", "%.0f", None),
    ("RSS after MiB", "rss_after_mib", "%.0f", False),
    ("errors", "http_errors", "%.0f", None),
    ("bridged, 1 stream Gbit/s", "bridge_gbits_1", "%.2f", True),
    ("bridged, 8 streams Gbit/s", "bridge_gbits_8", "%.2f", True),
    ("bridged, 1 stream back Gbit/s", "bridge_gbits_back_1", "%.2f", True),
    ("bridged CPU s/GiB, 1", "bridge_cpu_s_per_gib_1", "%.2f", False),
    ("bridged CPU s/GiB, 8", "bridge_cpu_s_per_gib_8", "%.2f", False),
    ("bridged CPU s/GiB, back", "bridge_cpu_s_per_gib_back_1", "%.2f", False),
    ("RSS with flows MiB", "rss_flows_mib", "%.0f", False),
    ("KiB/flow", "kib_per_flow", "%.1f", False),
    ("RSS flows gone MiB", "rss_flows_after_mib", "%.0f", False),
    ("storm conns/s", "storm_per_s", "%.0f", True),
    ("RSS after storm MiB", "rss_storm_mib", "%.0f", False),
    ("storm errors", "storm_failed", "%.0f", None),
    ("of 1 Gbit/s over 50 ms, %", "path_percent", "%.0f", True),
    ("RSS long path MiB", "rss_path_mib", "%.0f", False),
    ("2 fast readers MiB/s", "fast_mib_s", "%.0f", True),
    ("lost beside 16 slow, %", "slow_cost_percent", "%.0f", None),
    ("RSS slow readers MiB", "rss_slow_mib", "%.0f", False),
]
OURS = "skupper"


def brief(row):
    """One round on one line, for progress."""
    return ", ".join("%s %s" % (title, _cell(row[figure], form))
                     for title, figure, form, _ in COLUMNS if row.get(figure) not in (None, []))


def summarise(result):
    """Adds the median, lowest and highest of each figure to every chain; lists element by element."""
    for chain in result["chains"].values():
        rounds = chain["rounds"]
        for name, pick in (("median", statistics.median), ("lowest", min), ("highest", max)):
            chain[name] = {figure: _over([row[figure] for row in rounds if figure in row], pick)
                           for _, figure, _, _ in COLUMNS if any(figure in row for row in rounds)}


def _over(values, pick):
    if values[0] is None:
        return None
    if isinstance(values[0], list):
        return [pick(column) for column in zip(*values)]
    return pick(values)


def table(result):
    """The medians as a Markdown table, then ours against each other chain."""
    settings, here = result["settings"], result["surroundings"]
    lines = ["Medians of %d interleaved rounds, commit %s, %s, %s cores (%s), kernel %s" % (
        settings["rounds"], here["commit"] or "unknown", here["date"], here["cores"], here["cpu"], here["kernel"]), ""]
    columns = [column for column in COLUMNS
               if any(column[1] in chain["median"] for chain in result["chains"].values())]
    rows = [["chain"] + [title for title, _, _, _ in columns]]
    for chain in result["chains"].values():
        rows.append([chain["title"]] + [_cell(chain["median"].get(figure), form) for _, figure, form, _ in columns])
    lines += _aligned(rows)
    lines += _comparison(result["chains"], columns)
    for chain in result["chains"].values():
        for failure in chain["failures"]:
            lines.append("FAILED: %s: %s" % (chain["title"], failure))
    return "\n".join(lines)


def _comparison(chains, columns):
    ours = chains.get(OURS, {}).get("median")
    others = [chain for name, chain in chains.items() if name not in (OURS, "direct") and chain["median"]]
    if not ours or not others:
        return []
    rows = [["this router against"] + [title for title, _, _, better in columns if better is not None]]
    for chain in others:
        row = [chain["title"]]
        for _, figure, _, more in columns:
            if more is not None:
                row.append(_advantage(ours.get(figure), chain["median"].get(figure), more))
        rows.append(row)
    return ["", "How many times better (above 1.00) or worse (below):", ""] + _aligned(rows)


def _advantage(ours, theirs, more):
    if ours is None or theirs is None:
        return "-"
    ours, theirs = (sum(value) if isinstance(value, list) else value for value in (ours, theirs))
    if not ours or not theirs:
        return "-"
    return "%.2f" % (ours / theirs if more else theirs / ours)


def _cell(value, form):
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return " + ".join(form % part for part in value)
    return form % value


def _aligned(rows):
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    def line(row):
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return "| " + " | ".join(cells) + " |"
    ruler = "|" + "|".join("-" * (width + 1) + (":" if index else "-") for index, width in enumerate(widths)) + "|"
    return [line(rows[0]), ruler] + [line(row) for row in rows[1:]]
