"""The corpus's files as bags with labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from corpus_plan import HELD_OUT, RANDOM, Plan
from corpus_reduce import FORMAT, KINDS, SETS

from fmce_mlflow.errors import ConvergenceError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.moving import ModuleLabels, label_module
from fmce_mlflow.method.evidence.fresh import fresh_distance
from fmce_mlflow.method.evidence.groups import NAMES, NEVER, UNTOUCHED, columns, never_trained
from fmce_mlflow.method.fitting.bags import Bags

FOLDER = Path(__file__).with_name("corpus")
OF_WEIGHTS = columns(["weights"])
SPACING = ConvergenceConfig(spacing="loss")


def facts_of(file: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The training's record."""
    found: dict[str, Any] = json.loads(file["facts"].tobytes())
    if found["format"] != FORMAT:
        raise SystemExit("A file of the corpus was made by another release: reduce the corpus anew.")
    return found


def labels(facts: Mapping[str, Any], module: str, signal: str = "train") -> ModuleLabels | None:
    """A module's own labels; None where its training gives none."""
    rows, plan = facts["snapshots"], Plan(**facts["plan"])
    changes = [0.0] + [row["weight_change"][module] for row in rows[1:]]
    losses = [row[f"{signal}_loss"] for row in rows]
    try:
        return label_module(losses, changes, SPACING, starts_trained=plan.part == "fine-tuned")
    except ConvergenceError:
        return None


def without_weights(facts: Mapping[str, Any], module: np.ndarray, evidence: np.ndarray) -> set[int]:
    """Modules without weights, as an activation: the one before them is what was trained."""
    share = evidence[:, facts["evidence"].index(UNTOUCHED)]
    return {place for place in range(1, len(facts["modules"])) if np.isnan(share[module == place]).all()}


def read(folder: Path = FOLDER, signal: str = "train") -> Bags:
    """All bags that have a label, and those with fresh weights; table columns say what each is.

    ``held`` marks the networks on which nothing is chosen, ``dense`` segmenters and detectors, whose modules have other
    roles than stages too. ``place`` counts stages from the end, the last being 0; necks and heads come after it.
    """
    tables, features, evidence, references, groups, count = [], [], [], [], [], 0
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            facts = facts_of(file)
            halves = (file["high"].astype(np.uint16) << 8) | file["low"]
            own = {name: file[name] for name in ("snapshot", "module", "chosen", "kind", "evidence", "references")}
        item = Plan(**facts["plan"])
        table = pd.DataFrame({name: own[name] for name in ("snapshot", "module", "chosen", "kind")})
        table["fmcs"], table["level"] = np.nan, np.nan
        given = own["evidence"].astype(np.float32)
        without = without_weights(facts, own["module"], given)
        for place in range(len(facts["modules"])):
            found = labels(facts, facts["modules"][place - (place in without)], signal)
            if found is None or not found.labelled:
                continue
            mine = (table["module"] == place) & table["kind"].isin([KINDS.index("trained"), KINDS.index("after-reset")])
            snapshots = table["snapshot"][mine].to_numpy()
            table.loc[mine, "fmcs"] = found.fmcs[snapshots]
            level = [np.nan if found.levels[s] is None else found.levels[s] for s in snapshots]
            table.loc[mine, "level"] = level
        table.loc[table["kind"].isin([KINDS.index("fresh"), KINDS.index("reset")]), "fmcs"] = 0.0
        roles = facts.get("roles", ["stage"] * len(facts["modules"]))
        table["role"] = [roles[i] for i in table["module"]]
        table["place"] = max(i for i, role in enumerate(roles) if role == "stage") - table["module"]
        table["module"] = [facts["modules"][i] for i in table["module"]]
        table["chosen"] = [SETS[i] for i in table["chosen"]]
        table["kind"] = [KINDS[i] for i in table["kind"]]
        table = table.assign(
            run_id=path.stem, backbone=item.backbone, dataset=item.dataset, part=item.part, seed=item.seed,
            recipe=item.recipe, classes=facts["classes"], random=item.backbone in RANDOM,
            held=item.backbone in HELD_OUT, dense="roles" in facts,
        )  # fmt: skip
        modules, fresh = len(facts["modules"]), own["references"].astype(np.float32)  # (sets, modules, copies, F)
        each = np.ascontiguousarray(halves.view(np.float16).T).astype(np.float32)
        known = np.full((len(each), len(NAMES)), np.nan, np.float32)
        there = [place for place, name in enumerate(facts["evidence"]) if name in NAMES]
        known[:, [NAMES.index(facts["evidence"][place]) for place in there]] = given[:, there]
        for row in np.flatnonzero(np.isin(own["module"], sorted(without))):
            known[row, OF_WEIGHTS] = known[row - 1, OF_WEIGHTS]  # of the module before it, in the same look
        for row in range(len(known)):
            near = fresh_distance(
                torch.from_numpy(each[row]), torch.from_numpy(fresh[own["chosen"][row], own["module"][row]])
            )
            known[row, [NAMES.index(name) for name in near]] = list(near.values())
            known[row, NAMES.index(NEVER)] = never_trained(dict(zip(NAMES, known[row].tolist(), strict=True)))
        groups.append(count + own["chosen"].astype(np.int64) * modules + own["module"])
        count += fresh.shape[0] * modules
        references.append(fresh.mean(2).reshape(-1, fresh.shape[-1]))
        tables.append(table)
        features.append(each)
        evidence.append(known)
    table = pd.concat(tables, ignore_index=True)
    table["level"] = table["level"].astype("Int64")
    kept = table["fmcs"].notna().to_numpy()
    made = Bags(
        table, np.arange(len(table)), np.zeros(len(table), bool), np.concatenate(features),
        np.zeros((len(table), 2), np.float32), np.concatenate(evidence),
        (np.concatenate(references), np.concatenate(groups)),
    )  # fmt: skip
    return take(made, kept)


def take(bags: Bags, kept: np.ndarray) -> Bags:
    """Some of the bags, a row of the table each."""
    table = bags.table[kept].reset_index(drop=True)
    return replace(bags.taken(kept), table=table, row=np.arange(len(table)))
