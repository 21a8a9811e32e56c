"""The HTML page of what the weights of a model tell, without images; as that of an evaluation, without MLflow."""

from __future__ import annotations

from fmce_mlflow.evaluation.weight_findings import WeightFindings
from fmce_mlflow.report.templating import render


def weights_page(findings: WeightFindings) -> str:
    """The page, HTML to be written as UTF-8.

    Example:
        >>> from fmce_mlflow.evaluation.findings import ModelFacts
        >>> from fmce_mlflow.evaluation.weight_findings import ModuleWeights
        >>> layer4 = ModuleWeights(name="layer4", untouched=1.0, never_trained=True)
        >>> modules = (layer4, ModuleWeights(name="fc", untouched=0.0))
        >>> page = weights_page(WeightFindings(run_id="3f2a", model=ModelFacts("models:/x/3"), modules=modules))
        >>> "layer4 was never trained" in page
        True
    """
    return render("weights.html.j2", findings=findings)
