"""Espalier's library: what the stages call. This package imports nothing; read it as a map.

A module may import its own package or a lower layer, never a higher or a sibling one
(tests/contract/test_imports.py). `ray` is imported in launch/ and job_server.py, `mlflow` in tracking/,
registry/, pretrained/ and tasks/serving/, `dvc` in jobs/remote.py, repro/dag.py and verify/, `pyarrow`
under data/.

layer 0   errors.py     the exception tree
          watchdog.py   ends a worker whose training hangs
layer 1   base/         files and locks, sections of params.yaml, records, what dvc.yaml declares of a stage
          git.py        the door to git
          drawing.py    style, names and grids of all pictures
          job_server.py the door to Ray's job server
layer 2   storage.py    files that every node reaches without a shared disk
          images/       from a file's bytes to pixels: decoding, orientation, colour, resizing
          process/      how a process starts, leaves temporary files, and ends
layer 3   data/         sources, validation, fields, shards, splits, augmentation, surveys
          models/       what a model is, its networks, their channels, the model on disk
layer 4   tasks/        a kind of problem: how it is trained, judged, shown and served
layer 5   tracking/     the journal, the live line, and their way to MLflow
          export/       the deployment format: ONNX files, sessions on them, their parity
layer 6   train/        optimizer, schedule, step, checkpoints, loop: one fit()
          quantize/     a float ONNX file -> an int8 one
          evaluate/     one variant: its file, scores, tables and pictures
layer 7   launch/       how a training gets onto machines: Ray, its driver and workers
          compare/      all variants: latency, what each step lost
layer 8   prune/        a smaller network in the dense one's place, at once or in parts
          repro/        dvc repro with independent stages side by side
layer 9   profile/      what pruning must know of this machine, timed
          registry/     gates, model versions, aliases
          pretrained/   weights to start from and teachers, brought to data/
layer 10  check/        what can be known to fail before anything computes
          summary.py    the table at the end of the line
          schema.py     every section of params.yaml at once
layer 11  entry.py      how every stage starts and ends
          init/         params.yaml for images that nobody described yet
          jobs/         the same dvc repro, submitted to a cluster
          verify/       what dvc.lock and DVC's cache name, compared
layer 12  doctor/       what is wrong with an installation, and how to mend it
layer 13  frontier/     sweeps as DVC experiments: accuracy against measured speed
layer 14  commands/     what `espalier` can do, one file for each group of commands
layer 15  cli.py        the command line: all commands in one parser
"""
