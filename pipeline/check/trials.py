"""The trials: each section that trains, prunes or quantizes, by its stage's functions, untrained.

The number of workers, as far as params.yaml says it, cuts batches as in the stage. All else is of one process
on the CPU.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.base.params import parse_section
from pipeline.base.stage import PREPARED_DATA
from pipeline.check.stand_in import ROWS, stand_in
from pipeline.data.intake.params import DataParams
from pipeline.data.prepared.manifest import read_manifest
from pipeline.data.prepared.reader import Split
from pipeline.errors import EspalierError
from pipeline.launch.resources import Resources, cluster_address
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import WEIGHTS_NAME
from pipeline.models.disk.weights import load_model, save_model
from pipeline.models.nets.build import rebuild
from pipeline.profile.timing import open_device
from pipeline.prune.channels.importance import IN_LOSS
from pipeline.prune.channels.ranking import PruneGoal
from pipeline.prune.params import PruneParams, PruneTarget
from pipeline.prune.profile_report import Profile
from pipeline.prune.prune import smaller_network
from pipeline.prune.schedule import Tuning, tuning_job
from pipeline.quantize.instructions import check_int8
from pipeline.quantize.params import QuantizeParams
from pipeline.quantize.quantize import calibration_rows
from pipeline.tasks.description.params import TaskParams
from pipeline.tasks.judging.examiner import make_examiner
from pipeline.tasks.training.task import make_task
from pipeline.train.job import INIT_FOLDER, TEACHER_FOLDER, Job, Site, child_job, dense_job
from pipeline.train.loop import make_batch, never_leaving
from pipeline.train.params import LOGICAL_SHARDS, FitParams
from pipeline.train.run import check_sizes, open_run, prepare_torch
from pipeline.train.sampling import smallest_part
from pipeline.train.step import train_step

ENOUGH = 2
"""Images at most in the part that is tried: one alone is what batch norms refuse."""


class Trials:
    """Trials of one params file. scratch: an empty folder. here: the stages will run on this machine."""

    def __init__(self, root: Path, values: Mapping[str, Any], scratch: Path, *, here: bool = True) -> None:
        self._root, self._scratch, self._is_here = root, scratch, here
        self._model = parse_section("model", values["model"], ModelParams)
        self._task = parse_section("task", values["task"], TaskParams)
        self._train = parse_section("train", values["train"], FitParams)
        self._prune = parse_section("prune", values["prune"], PruneParams)
        self._finetune = parse_section("finetune", values["finetune"], FitParams)
        self._quantize = parse_section("quantize", values["quantize"], QuantizeParams)
        self._resources = parse_section("resources", values["resources"], Resources)
        prepared = root / PREPARED_DATA
        self._is_prepared = (prepared / "manifest.json").exists()
        data = parse_section("data", values["data"], DataParams)
        self._data = prepared if self._is_prepared else stand_in(data, scratch / "data")
        self._dense, self._pruned = scratch / "dense", scratch / "pruned"

    def problems(self) -> Iterator[str]:
        """All that are found, each with its section first; what only follows from another one is left out."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("train", self._train_dense),
            ("prune", self._make_smaller),
            ("finetune", self._train_pruned),
            ("prune.schedule", self._train_parts),
            ("quantize", self._calibrate),
        ]
        for section, step in steps:
            try:
                step()
            except EspalierError as error:
                yield from (
                    f"{section}: {line}" for line in str(error).replace(f"{section}: ", "").splitlines()
                )
            if section == "train" and not self._dense.exists():
                return  # there is no network to try the others with

    def _train_dense(self) -> None:
        init = self._root / INIT_FOLDER / WEIGHTS_NAME if self._model.init == "file" else None
        job = dense_job(self._model, self._train, self._task, self._data, init, self._site("train"))
        save_model(self._dense, job.problem.spec, rebuild(job.problem.spec))
        self._try(job)

    def _make_smaller(self) -> None:
        """Prune by rounding and target; what takes a trained network or a clock to tell is left out."""
        params = self._prune
        save_model(self._pruned, *load_model(self._dense))  # in its place if it cannot be made
        if (
            self._is_here
            and not params.student
            and (params.target.kind == "latency" or params.round_to == "auto")
        ):
            open_device(params.target)
        changes: dict[str, Any] = {"importance": "l1"} if params.importance in IN_LOSS else {}
        if params.target.kind == "latency":
            changes["target"] = PruneTarget(macs=1.0)
        spec, dense = load_model(self._dense)
        notes = self._task.notes(read_manifest(self._data))
        profile = Profile(
            round_to=1 if params.round_to == "auto" else params.round_to, roundings=[], chosen=None
        )
        train, task = Split.open(self._data, "train"), make_task(self._task, notes)
        smaller = smaller_network(
            dense, spec, train, params.model_copy(update=changes), task, PruneGoal(profile)
        )
        save_model(self._pruned, smaller.spec, smaller.model)

    def _train_pruned(self) -> None:
        self._try(
            child_job(
                self._pruned,
                self._finetune,
                self._task,
                self._site("finetune"),
                data=self._data,
                dense=self._dense,
                teacher_folder=self._root / TEACHER_FOLDER,
            )
        )

    def _train_parts(self) -> None:
        """Trainings between cuts, which are those of `finetune` but for the rounding of weights."""
        if self._prune.schedule is None or self._finetune.quantization_aware is None:
            return
        teacher_folder = self._root / TEACHER_FOLDER
        tuning = Tuning(lambda job: None, self._finetune, teacher_folder, self._site("parts"))
        self._try(tuning_job(1, self._pruned, self._dense, self._data, self._prune, self._task, tuning))

    def _calibrate(self) -> None:
        if self._is_here:
            check_int8(self._quantize)
        if self._is_prepared:
            train = Split.open(self._data, "train")
            examiner = make_examiner(self._task.notes(read_manifest(self._data)))
            calibration_rows(examiner.groups(train.target_arrays), len(train), self._quantize)

    def _site(self, name: str) -> Site:
        run_dir = self._scratch / name
        return Site(
            run_dir=run_dir, journal=run_dir / "journal.jsonl", checkpoint_s=self._resources.checkpoint_s
        )

    def _try(self, job: Job) -> None:
        """A step of a job on the smallest part of a batch that any worker gets."""
        params, workers = job.problem.params, self._workers
        if self._is_prepared:
            num_images = len(Split.open(job.inputs.data, "train"))
            check_sizes(params, num_images, workers)
            part = smallest_part(num_images, params.global_batch_size, self._parts(params))
        else:
            part = params.global_batch_size // self._parts(params)
            params = params.model_copy(
                update={"global_batch_size": min(params.global_batch_size, ROWS), "accumulate": 1}
            )
        if self._is_on_cpu:
            prepare_torch(job, "cpu", torch.get_num_threads())
        elif params.amp == "fp16":  # which the CPU, that stands here for another device, does not have
            params = params.model_copy(update={"amp": "bf16"})
        problem = job.problem.model_copy(update={"params": params})
        run = open_run(job.model_copy(update={"problem": problem}), "cpu", never_leaving)
        batch = make_batch(run, torch.arange(max(1, min(part, ENOUGH, len(run.train)))))
        train_step(run.net, run.state.optimizer, run.state.scaler, [batch], run.recipe, 1.0)

    @property
    def _workers(self) -> int:
        """Number of workers, as far as it is known: `auto` adds none whose part would be too small."""
        return self._resources.workers if isinstance(self._resources.workers, int) else 1

    def _parts(self, params: FitParams) -> int:
        return LOGICAL_SHARDS if params.exact_elastic else self._workers * params.accumulate

    @property
    def _is_on_cpu(self) -> bool:
        """Whether the training is known to be on a CPU."""
        local = self._is_here and cluster_address(self._resources) is None and not torch.cuda.is_available()
        return self._resources.device == "cpu" or (self._resources.device == "auto" and local)
