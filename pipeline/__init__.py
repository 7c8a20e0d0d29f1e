"""Espalier's library: what the stages call. This package imports nothing; read it as a map.

A module may import its own package or a lower layer, never a higher or a sibling one
(tests/contract/test_imports.py). `ray` is imported in cluster.py, worker.py, autoscaler.py and job_server.py,
`mlflow` in tracking/store.py and registry/, `dvc` in jobs/remote.py, repro/dag.py and verify/, `pyarrow` under
data/.

layer 0  environment.py what the environment may not decide; the first import of each process
         errors.py     the exception tree
layer 1  files.py      atomic writes, locks and content digests
         params.py     a section of params.yaml -> a frozen model
         drawing.py    style and names of all pictures
         jsonfile.py   a JSON file that a stage left, checked
         dist.py       rank, world size, sums over ranks
layer 2  seal.py       digests that go with what a stage leaves
         stage.py      what dvc.yaml declares of a stage: sections, deps, outs, key
         ending.py     one message and a status for a process that cannot go on
         report.py     where results go: reporters and the journal
         progress.py   the live line
         watch.py      ends a worker whose training hangs
         resources.py  the section that says where to run
         storage.py    files that every node reaches without a shared disk
         submission.py what a submitted tree says of itself
layer 3  site_cache.py DVC's pickled state in a folder of this user's alone
         machine.py    who computes here: a stage that times has the machine alone
         leftovers.py  locks that name their holder, folders of temporary files
         autoscaler.py nodes that a cluster may start, and waiting for them
         data/         sources, validation, shards, splits, augmentation
         models/       networks, adapters, pruning plans, the model on disk
         tasks/        loss and metrics of a kind of problem
layer 4  train/        optimizer, schedule, step, checkpoint, loop: one fit()
         compress/     cost, prune, export, quantize
layer 5  worker.py     what Ray runs on each worker of a training
         evaluate/     metrics, calibration, pictures of one variant
         iterative.py  pruning in parts with training in between
layer 6  compare/      all variants: latency, what each step lost
         check/        what can be known to fail before anything computes
         cluster.py    the door to Ray
         job_server.py the door to its job server
         tracking/     the journal's way to MLflow
layer 7  attached.py   training on a cluster of which this machine is no node
         registry/     gates, model versions, aliases
layer 8  driver.py     training as a child process, started again where it dies
         summary.py    the table at the end of the line
         schema.py     every section of params.yaml at once
         pretrained.py weights to start from and teachers, brought to data/
         repro/        dvc repro with independent stages side by side
layer 9  entry.py      how every stage starts and ends
         jobs/         the same dvc repro, submitted to a cluster
         verify/       what dvc.lock and DVC's cache name, compared
layer 10 doctor/       what is wrong with an installation, and how to mend it
layer 11 frontier/     sweeps as DVC experiments: accuracy against measured speed
layer 12 cli.py        the command line
"""
