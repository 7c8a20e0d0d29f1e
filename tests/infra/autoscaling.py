"""A Ray cluster whose autoscaler is real, and starts and ends raylets on this machine instead of machines.

Not `ray.cluster_utils.AutoscalingCluster`: that ends every Ray of the machine first, and needs a file that
Ray's wheel lacks.
"""

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local_cluster import HOST, OBJECT_STORE_BYTES, _start_node, _stop, _wait_until_started
from tests.infra.processes import free_port

KIND = "worker"
HEAD_KIND = "ray.head.default"
"""The provider knows the head by this name alone, and by this id."""
HEAD_ID = "f" * 51 + "00000"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
VARIABLES = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",  # as Ray's launcher and KubeRay do
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_NODE_TYPE_NAME": HEAD_KIND,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}

COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")


def configuration(port: int, cpus: int, most: int) -> dict[str, Any]:
    """As the cluster launcher's: a head without CPUs, and up to `most` workers, of which none is there at
    first.
    """
    return {
        "cluster_name": "test",
        "max_workers": most,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "gcs_address": f"{HOST}:{port}",
            "head_node_id": HEAD_ID,
            "use_node_id_as_ip": True,
            "launch_multiple": True,
            "disable_node_updaters": True,
        },
        "head_node_type": HEAD_KIND,
        **{f"{what}_commands": [] for what in COMMANDS},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "available_node_types": {
            HEAD_KIND: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            KIND: {
                "resources": {"CPU": cpus, "object_store_memory": OBJECT_STORE_BYTES},
                "node_config": {},
                "min_workers": 0,
                "max_workers": most,
            },
        },
    }


@contextmanager
def autoscaling_cluster(*, cpus: int, most: int) -> Iterator[dict[str, str]]:
    """Start the head, and yield the variables by which a client finds it; end all that was started
    afterwards.

    Raises TimeoutError where it does not come up.
    """
    folder, port = Path(tempfile.mkdtemp(prefix="ray-")), free_port()
    client = {
        "RAY_ADDRESS": f"{HOST}:{port}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }
    (folder / "token").touch(0o600)
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "config.yaml").write_text(json.dumps(configuration(port, cpus, most)))
    head = _start_node(0, client | VARIABLES, 0, folder, [f"--autoscaling-config={folder / 'config.yaml'}"])
    try:
        _wait_until_started(head, folder / "node-0.log")
        yield client
    finally:
        _stop([head])
        shutil.rmtree(folder, ignore_errors=True)
