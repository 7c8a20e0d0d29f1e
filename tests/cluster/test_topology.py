"""The whole topology is what it says: Ray on three hosts behind a token, MLflow behind passwords, S3 that can
fail.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.hosts.hosts import CommandError
from tests.support.hosts.services import BUCKET, RUNS_DATABASE
from tests.support.hosts.topology import Topology

MIB = 1 << 20
STALL_S = 1.0
JOB = """
import json, os, socket, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init(log_to_driver=False, logging_level="ERROR")
@ray.remote
def look():
    return socket.gethostname(), ray.util.get_node_ip_address(), "AWS_ENDPOINT_URL" in os.environ
nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
looks = [look.options(scheduling_strategy=On(node, soft=False)).remote() for node in nodes]
print("SAW", json.dumps(ray.get(looks)))
"""
SUBMIT = """
import sys, time
from ray.job_submission import JobSubmissionClient
client = JobSubmissionClient(sys.argv[1])
job = client.submit_job(entrypoint="python job.py", runtime_env={"working_dir": sys.argv[2]})
while not client.get_job_status(job).is_terminal():
    time.sleep(0.1)
print(client.get_job_logs(job))
sys.exit(client.get_job_status(job) != "SUCCEEDED")
"""
LOG_RUN = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("hello", "note.txt")
loss = mlflow.get_run(run.info.run_id).data.metrics["loss"]
print(loss, mlflow.artifacts.load_text(run.info.artifact_uri + "/note.txt"))
"""
PUT_AND_GET = """
import sys, boto3, os
s3 = boto3.client("s3")
body = os.urandom(int(sys.argv[2]))
s3.put_object(Bucket=sys.argv[1], Key="big", Body=body)
assert s3.get_object(Bucket=sys.argv[1], Key="big")["Body"].read() == body
assert s3.get_object(Bucket=sys.argv[1], Key="big", Range="bytes=5-9")["Body"].read() == body[5:10]
assert s3.head_object(Bucket=sys.argv[1], Key="big")["ContentLength"] == len(body)
"""
PUT = """
import sys, boto3
from botocore.config import Config
s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
s3.put_object(Bucket=sys.argv[1], Key="small", Body=b"x")
"""


def submit(installation: Topology, environment: Mapping[str, str] | None = None) -> str:
    """What a job prints that the client host sends. Raises CommandError where it is refused or fails."""
    client = installation.client
    client.path("/tmp/job").mkdir(exist_ok=True)
    client.path("/tmp/job/job.py").write_text(JOB)
    return client.run(["python", "-c", SUBMIT, installation.ray.head.jobs_url, "/tmp/job"], environment).out


def test_a_job_from_the_client_runs_on_every_node(installation: Topology) -> None:
    out = submit(installation)
    saw = json.loads(next(line for line in out.splitlines() if line.startswith("SAW")).removeprefix("SAW"))
    nodes = [installation.head, *installation.workers]
    assert sorted(saw) == sorted([host.name, host.ip, True] for host in nodes)


def test_a_job_without_the_token_or_with_another_is_refused(installation: Topology) -> None:
    installation.client.path("/run/other-token").write_text("0" * len(installation.ray.token))
    with pytest.raises(CommandError, match=r"401|[Uu]nauth"):
        submit(installation, {"RAY_AUTH_MODE": "disabled"})
    with pytest.raises(CommandError, match=r"403|[Ii]nvalid"):
        submit(installation, {"RAY_AUTH_TOKEN_PATH": "/run/other-token"})


def test_mlflow_answers_those_who_know_the_password(installation: Topology) -> None:
    assert status(installation, "admin", installation.mlflow.environment["MLFLOW_TRACKING_PASSWORD"]) == 200
    assert status(installation, "admin", "another password") == 401
    assert status(installation, None, None) == 401


def status(installation: Topology, user: str | None, password: str | None) -> int:
    """Of a search that only those with an account may make."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"} if user else {}
    url = f"{installation.mlflow.url}/api/2.0/mlflow/experiments/search?max_results=1"
    return installation.client.get(url, headers)[0]


def test_a_run_with_an_artifact_goes_to_postgresql_and_s3_and_comes_back(installation: Topology) -> None:
    assert installation.client.run(["python", "-c", LOG_RUN]).out.splitlines()[-1] == "0.5 hello"
    _, listing = installation.client.get(f"{installation.store.url}/{BUCKET}?prefix=mlflow")
    assert b"note.txt</Key>" in listing
    assert (
        installation.database.query(RUNS_DATABASE, "select value from latest_metrics where key = 'loss'")
        == "0.5"
    )


def test_ten_megabytes_pass_the_proxy_of_s3_unchanged(installation: Topology) -> None:
    installation.client.run(["python", "-c", PUT_AND_GET, BUCKET, str(10 * MIB)])


def test_s3_answers_503_when_told_and_recovers(installation: Topology) -> None:
    with installation.store.failing(), pytest.raises(CommandError, match=r"SlowDown|503"):
        installation.client.run(["python", "-c", PUT, BUCKET])
    installation.client.run(["python", "-c", PUT, BUCKET])


def test_objects_outlive_a_stop_of_s3(installation: Topology) -> None:
    installation.client.run(["python", "-c", PUT, BUCKET])
    with installation.store.stopped(), pytest.raises(ConnectionRefusedError):
        installation.client.get(installation.store.url)
    assert b"<Key>small</Key>" in installation.client.get(f"{installation.store.url}/{BUCKET}")[1]


def test_a_stalled_server_takes_connections_and_says_nothing(installation: Topology) -> None:
    with installation.mlflow.stalled(), pytest.raises(TimeoutError):
        installation.client.get(f"{installation.mlflow.url}/health", timeout_s=STALL_S)
    assert installation.client.get(f"{installation.mlflow.url}/health") == (200, b"OK")


def test_mlflow_survives_a_restart_of_its_database(installation: Topology) -> None:
    password = installation.mlflow.environment["MLFLOW_TRACKING_PASSWORD"]
    with installation.database.stopped():
        assert status(installation, "admin", password) >= 500
    assert status(installation, "admin", password) == 200


def test_a_project_is_brought_to_the_client_and_its_data_pushed(
    installation: Topology, tmp_path: Path
) -> None:
    (tmp_path / "data.csv").write_text("1,2\n")
    client = installation.client
    client.bring(tmp_path, "/tmp/pushed")
    for words in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "remote", "add", "-q", "-d", "store", f"s3://{BUCKET}/dvc"],
        ["dvc", "add", "-q", "data.csv"],
        ["dvc", "push", "-q"],
        ["rm", "-r", "data.csv", ".dvc/cache"],
        ["dvc", "pull", "-q"],
    ):
        client.run(words, cwd="/tmp/pushed")
    assert client.path("/tmp/pushed/data.csv").read_text() == "1,2\n"
