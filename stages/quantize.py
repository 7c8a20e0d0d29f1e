"""Turn the fine-tuned model into an int8 ONNX file, calibrated on training images."""

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.files import to_json, write_atomic
from pipeline.base.stage import Stage
from pipeline.entry import run_stage
from pipeline.models.description.spec import ONNX_NAME
from pipeline.quantize.params import QuantizeParams
from pipeline.quantize.quantize import quantize
from pipeline.tracking.journal import Reporter


def main(stage: Stage, report: Reporter) -> None:
    result = quantize(
        stage.dep("artifacts/finetuned"),
        stage.dep("exported/finetuned") / ONNX_NAME,
        stage.dep("data/prepared"),
        stage.out("artifacts/quantized"),
        stage.params("quantize", QuantizeParams),
    )
    write_atomic(stage.out("reports/quantize.json"), to_json(result.record()))
    report.metrics({f"quantize/{name}": value for name, value in result.metrics().items()})


if __name__ == "__main__":
    run_stage("quantize", main)
