"""The schema in an editor: what the real YAML language server, as in VS Code, completes and shows.

It is a program for Node.js: ``npm install --global yaml-language-server``. Without it, what it
reads is held against what it needs.
"""

import itertools
import json
import shutil
import subprocess

import pytest

from hpcflow.spec.catalog import entries
from hpcflow.spec.schema import flow_schema

FLOW = """\
flow: edges
sources:
  plane: {from: npy, path: plane.npy}
steps:
  smooth:
    op: gaussian
    of: plane
    sigma: 2
    mode: mirror
  more:
    op: med
  last:
    op: uniform
    of: smooth
    siz
sinks:
  out: {to: zarr, of: smooth, path: out.zarr}
"""


class Server:
    """A language server behind pipes."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            [command, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.numbers = itertools.count(1)
        self.settings = {}

    def send(self, method, params, number=None):
        self._write({"method": method, "params": params} | ({} if number is None else {"id": number}))

    def _write(self, body):
        content = json.dumps({"jsonrpc": "2.0", **body}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(content) + content)
        self.process.stdin.flush()

    def _read(self):
        length = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return json.loads(self.process.stdout.read(length))

    def wait(self, found):
        """Read what comes until one is found; answer what the server asks meanwhile."""
        while True:
            message = self._read()
            if "method" in message and "id" in message:
                asked = message["params"].get("items", []) if isinstance(message.get("params"), dict) else []
                known = [self.settings.get(one.get("section", ""), None) for one in asked]
                self._write({"id": message["id"], "result": known if asked else None})
            elif found(message):
                return message

    def ask(self, method, params):
        number = next(self.numbers)
        self.send(method, params, number)
        return self.wait(lambda message: message.get("id") == number)["result"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    command = shutil.which("yaml-language-server")
    if command is None:
        pytest.skip("yaml-language-server is not installed: npm install --global yaml-language-server")
    folder = tmp_path_factory.mktemp("editor")
    (folder / "flow.schema.json").write_text(json.dumps(flow_schema()))
    running = Server(command)
    try:
        running.settings = {
            "yaml": {
                "schemas": {(folder / "flow.schema.json").as_uri(): "*.yaml"},
                "completion": True,
                "hover": True,
                "validate": True,
                "schemaStore": {"enable": False},
            }
        }
        able = {"workspace": {"configuration": True}}
        running.ask("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": able})
        running.send("initialized", {})
        running.send("workspace/didChangeConfiguration", {"settings": running.settings})
        uri = (folder / "edges.yaml").as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": FLOW}
        running.send("textDocument/didOpen", {"textDocument": document})
        running.found = running.wait(lambda m: m.get("method") == "textDocument/publishDiagnostics")["params"]
        running.uri = uri
        yield running
        running.ask("shutdown", None)
        running.send("exit", None)
        running.process.wait(10)
    finally:
        running.process.kill()
        running.process.wait()
        running.process.stdin.close()
        running.process.stdout.close()


def place(server, text, after=0):
    """A position in the flow: that of some text, or some characters behind its start."""
    line = next(number for number, one in enumerate(FLOW.splitlines()) if text in one)
    column = FLOW.splitlines()[line].index(text) + after
    return {"textDocument": {"uri": server.uri}, "position": {"line": line, "character": column}}


def completions(server, text):
    found = server.ask("textDocument/completion", place(server, text, len(text)))
    return {one["label"]: one for one in found["items"]}


def hover(server, text, after=1):
    contents = server.ask("textDocument/hover", place(server, text, after))["contents"]
    return contents["value"] if isinstance(contents, dict) else str(contents)


def test_ops_are_completed_with_what_they_do(server):
    found = completions(server, "op: med")
    assert {"median", "gaussian", "infer"} <= set(found)
    assert "median" in json.dumps(found["median"]).lower()
    assert "documentation" in found["median"]


def test_parameters_are_completed_with_what_they_mean(server):
    found = completions(server, "    siz")
    assert "size" in found
    assert "origin" in found
    assert "sigma" not in found
    assert "integer greater than 0" in found["size"]["documentation"]
    assert "window" in found["size"]["documentation"]


def test_hovering_shows_the_docstrings(server):
    assert "Standard deviation of the kernel" in hover(server, "sigma: 2")
    assert "Smooth with a Gaussian" in hover(server, "gaussian", 2)
    assert "beyond the array" in hover(server, "mode: mirror")
    assert "Write an array to a folder as Zarr" in hover(server, "zarr, of", 1)


def test_mistakes_are_underlined(server):
    lines = {one["range"]["start"]["line"] for one in server.found["diagnostics"]}
    assert FLOW.splitlines().index("    op: med") in lines


def test_what_the_server_reads_is_there():
    definitions = flow_schema()["$defs"]
    for section, kind in (("source", "sources"), ("step", "ops"), ("sink", "sinks")):
        word = {"source": "from", "step": "op", "sink": "to"}[section]
        choices = [one for one in definitions[section]["properties"][word]["anyOf"] if "const" in one]
        assert {one["const"] for one in choices} == {one.name for one in entries(kind)}
        assert all(one["description"] and one["description"] in one["markdownDescription"] for one in choices)
