"""What happens around the nodes of a run: checks, seeds, timing, and the run's record in MLflow; no modelling."""

import logging
import os
import warnings

# MLflow reads these variables when it is imported. By default, each call to a server that is down waits for minutes.
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from glasshead.hooks.identity import IdentityHooks
from glasshead.hooks.parameters import ParameterHooks, SeedHooks
from glasshead.hooks.record import RecordHooks

# MLflow warns about a class of kedro-mlflow even where a filter ignores the warning.
with warnings.catch_warnings(record=True):
    from glasshead.hooks.tracking import TrackingHooks

# Warnings of Kedro, kedro-mlflow and MLflow about their own calls, which users cannot change.
for noise in ("register_new_resolver", "The specified dataset source can be interpreted in"):
    warnings.filterwarnings("ignore", message=noise)
logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)  # its import sets INFO

__all__ = ["IdentityHooks", "ParameterHooks", "RecordHooks", "SeedHooks", "TrackingHooks"]
