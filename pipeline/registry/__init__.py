"""Gates, model versions, aliases: what becomes a registered model and which one is the champion."""
