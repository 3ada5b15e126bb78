"""The files in kubernetes/, as objects."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from repository import ROOT

KUBERNETES = ROOT / "kubernetes"
BASE, OPERATORS = KUBERNETES / "base", KUBERNETES / "operators"
KUSTOMIZATION = "kustomization.yaml"

Json = dict[str, Any]


def kustomization(folder: Path) -> Json:
    return dict(yaml.safe_load((folder / KUSTOMIZATION).read_text()))


def objects(folder: Path) -> list[Json]:
    """The objects that the folder's kustomization lists in files of this folder."""
    files = [folder / name for name in kustomization(folder)["resources"] if name.endswith(".yaml")]
    return [each for path in files for each in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> list[Json]:
    return [each for each in (*objects(BASE), *objects(OPERATORS)) if each["kind"] == kind]


def pods() -> Iterator[tuple[str, Json]]:
    """The name and the pod's spec of each workload that is an object of Kubernetes itself."""
    for each in objects(BASE):
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield each["metadata"]["name"], spec["template"]["spec"]
