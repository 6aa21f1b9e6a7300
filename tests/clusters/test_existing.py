"""A scheduler that is there already, over TLS and without."""

from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster, Security
from scipy import ndimage

import hpcflow
from hpcflow.clusters.existing import client_options
from hpcflow.clusters.profiles import Profile, open_pool
from hpcflow.errors import Mismatch, RunError

FLOW = (
    "flow: smooth\nsources:\n  x: {from: npy, path: x.npy}\n"
    "steps:\n  y: {op: gaussian, of: x, sigma: 2}\nsinks:\n  y: {to: npy, of: y, path: y.npy}\n"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with an authority, a certificate and its key, and Dask's settings that use them."""
    folder = tmp_path_factory.mktemp("certificates")
    made = Security.temporary()
    files = {"tls_ca_file": made.tls_ca_file, "tls_client_cert": made.tls_client_cert}
    files["tls_client_key"] = made.tls_client_key
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in files}, made


@pytest.fixture(scope="module")
def scheduler(certificates):
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options, protocol="tls://", security=certificates[1]) as cluster:
        yield cluster


def test_a_flow_runs_on_it_and_leaves_it_as_it_was(scheduler, certificates, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).random((300, 400), dtype="float32")
    np.save("x.npy", x)
    Path("smooth.yaml").write_text(FLOW)
    files = "".join(f"    {name}: {path}\n" for name, path in certificates[0].items())
    address = f"  address: {scheduler.scheduler_address}\n"
    Path("there.yaml").write_text(f"kind: existing\nmemory: 1GiB\noptions:\n{address}  security:\n{files}")
    before = set(scheduler.scheduler.worker_plugins)
    report = hpcflow.run("smooth.yaml", cluster="there.yaml")
    assert report.cluster["workers"] == 2
    np.testing.assert_allclose(np.load("y.npy"), ndimage.gaussian_filter(x, 2), rtol=1e-5, atol=1e-6)
    assert set(scheduler.scheduler.worker_plugins) == before
    # What workers elsewhere held is what they told.
    memory = report.memory
    assert 0 < memory["measured_worker"] < memory["budget"]
    assert memory["measured_peak"] >= memory["measured_driver"] + memory["measured_worker"]


@pytest.mark.parametrize("lacking", ["tls_ca_file", "tls_client_cert", "tls_client_key"])
def test_without_a_certificate_it_is_refused(scheduler, certificates, lacking):
    options = {"address": scheduler.scheduler_address, "security": {**certificates[0], lacking: None}}
    with pytest.raises(Mismatch, match=f"expected `{lacking}` for a scheduler over TLS, found none"):
        open_pool(Profile("existing", 1, 1, options=options)).__enter__()
    options["security"][lacking] = "/no/such.pem"
    with pytest.raises(Mismatch, match=rf"expected `{lacking}` to be a file .* `/no/such.pem`: No such file"):
        open_pool(Profile("existing", 1, 1, options=options)).__enter__()


def test_certificates_of_another_authority_are_refused(scheduler, tmp_path):
    other = Security.temporary()
    files = {name: getattr(other, name) for name in ("tls_ca_file", "tls_client_cert", "tls_client_key")}
    options = {"address": scheduler.scheduler_address, "security": files, "timeout": 2}
    with pytest.raises(RunError, match="the cluster `existing` did not start"):
        open_pool(Profile("existing", 1, 1, options=options)).__enter__()


@pytest.mark.parametrize("address", ["tcp://node7:8786", "10.0.0.9:8786", "ucx://node7:8786"])
def test_beyond_this_machine_it_is_tls_or_named_insecure(address):
    with pytest.raises(Mismatch, match="beyond this machine to be spoken to over TLS") as caught:
        client_options(Profile("existing", 1, 1, options={"address": address}))
    assert "insecure: true" in caught.value.hint
    given = Profile("existing", 1, 1, options={"address": address}, insecure=True)
    assert client_options(given) == {"address": address}


def test_on_loopback_no_certificate_is_needed():
    assert client_options(Profile("existing", 1, 1, options={"address": "tcp://127.0.0.1:1"}))
    with pytest.raises(Mismatch, match="found no address"):
        client_options(Profile("existing", 1, 1))


def test_workers_of_more_threads_than_planned_are_refused():
    with LocalCluster(n_workers=1, threads_per_worker=3, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        options = {"address": cluster.scheduler_address}
        with pytest.raises(Mismatch, match="at most 2 threads, found 3"):
            open_pool(Profile("existing", 1, 2, options=options)).__enter__()


def test_a_plan_wants_the_memory_of_each_worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((30, 40), "float32"))
    Path("smooth.yaml").write_text(FLOW)
    with pytest.raises(Mismatch, match="expected the bytes of each worker"):
        hpcflow.plan("smooth.yaml", cluster="existing")
    plan = hpcflow.plan("smooth.yaml", cluster="existing", workers=10, memory="1GiB")
    assert plan.budget == plan.base.driver + plan.base.rest + 10 * 2**30
    assert "file system that they share" in str(plan)
