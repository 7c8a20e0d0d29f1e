"""Tables as people and programs write them: CSV, JSON, Parquet, each to cells by column."""
