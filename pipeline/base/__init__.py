"""What every stage stands on: files, parameters, records, and what dvc.yaml declares of a stage."""
