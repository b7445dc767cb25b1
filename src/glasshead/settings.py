"""Project settings, read by Kedro when it starts."""

from kedro.config import OmegaConfigLoader

from glasshead.hooks import IdentityHooks, ParameterHooks, RecordHooks, SeedHooks, TrackingHooks

HOOKS = (ParameterHooks(), SeedHooks(), IdentityHooks(), RecordHooks(), TrackingHooks())
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)  # TrackingHooks replaces that plugin's hook

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*"]},
    "merge_strategy": {"parameters": "soft"},
}
