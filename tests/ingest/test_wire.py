"""What is sent for a URL is what stands there, byte by byte, to the host that was judged."""

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from faulty import Faulty, body_of, serving

from hpcflow.ingest import fetch
from hpcflow.ingest.guard import is_private
from hpcflow.ingest.wire import led, wire


@pytest.fixture(scope="module")
def server():
    with serving(Faulty()) as one:
        yield one


@pytest.fixture
def get(tmp_path):
    def run(urls, to="out", **options):
        done = fetch(urls, tmp_path / to, **{"cache": str(tmp_path / "cache"), "timeout": 3, "retries": 0, **options})
        return pq.read_table(done.manifest).to_pylist()

    return run


SENT = {
    "a%20b/c d.jpg": "a%20b/c%20d.jpg",
    "100%.jpg?a=50%&b=%2": "100%25.jpg?a=50%25&b=%252",
    "x%2Fy%e9%C3%A9": "x%2Fy%e9%C3%A9",
    "../a/./b//c": "../a/./b//c",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg": "caf%C3%A9.jpg",
    "caf\udce9.jpg": "caf%E9.jpg",
    'q?a[]=1&b={"c":"<d>|e^`\\"}': "q?a[]=1&b=%7B%22c%22:%22%3Cd%3E%7Ce%5E%60%5C%22%7D",
    "tab\tand;p=1,2+3!*'()@:~$": "tab%09and;p=1,2+3!*'()@:~$",
    "photo?id=1&u=http://h/x?y#part": "photo?id=1&u=http://h/x?y",
}


@pytest.mark.parametrize("given", SENT)
def test_what_is_asked_for_is_what_stands_there(get, server, given):
    (row,) = get([server.url(given)])
    assert row["status"] == "ok", row["reason"]
    assert server.targets[-1] == "/" + SENT[given]


HOSTS = {
    "HTTP://EXAMPLE.org": "http://example.org/",
    "http://example.org:80?q": "http://example.org:80/?q",
    "http://\uff11\uff12\uff17.0.0.1/x": "http://127.0.0.1/x",
    "http://127\u30020\u30020\u30021/x": "http://127.0.0.1/x",
    "http://a:b@m\u00fcnchen.de/x": "http://xn--mnchen-3ya.de/x",
    "http://[0:0::1]:8/x": "http://[::1]:8/x",
}


@pytest.mark.parametrize("given", HOSTS)
def test_a_host_has_one_spelling(given):
    assert wire(given) == HOSTS[given]


@pytest.mark.parametrize(
    "given",
    [
        "http://",
        "http:///x",
        "http://a b/x",
        "http://h\\@evil/x",
        "http://%31/",
        "http://[::1/x",
        "http://h:99999/",
        "http://h\x00/x",
        "http://\udce9/",
        "http://h/\ud800",
        "http://a..b\uff0fc/x",
        "ftp://h/x",
        "http://h/" + "x" * 70_000,
    ],
)
def test_what_is_no_web_address_is_refused(given):
    with pytest.raises(ValueError):
        wire(given)


def test_redirects_are_led_as_they_are_written():
    base = "http://h/a/b?c"
    for location, target in {
        "d e?f": "http://h/a/d%20e?f",
        "/caf\udce9": "http://h/caf%E9",
        "//\uff11\uff12\uff17.1/x": "http://127.1/x",
        "https://u:p@g/": "https://g/",
        "?x": "http://h/a/b?x",
        "/\\evil": "http://h/%5Cevil",
        "file:///etc/passwd": "file:///etc/passwd",
    }.items():
        assert led(base, location) == target


def test_a_raw_byte_of_a_location_is_sent_on(get, server):
    server.bodies["verbatim/to"] = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /ok/caf\xe9 1.bin\r\n\r\n"
    (row,) = get([server.url("verbatim/to")])
    assert server.targets[-1] == "/ok/caf%E9%201.bin"
    assert row["status"] == "ok", row["reason"]


LOOPBACK = [
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "127\uff610\uff610\uff611",
    "\u2460\u2461\u2466.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.0.0.2",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST.",
    "\uff4cocalhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[fe80::1%25lo]",
    "[::1%lo]",
    "example.org@127.0.0.1",
    "example.org%00@127.0.0.1",
    "127.0.0.1%2f@127.0.0.2",
    "169.254.169.254",
    "168.63.129.16",
    "[fd00:ec2::254]",
]


@pytest.mark.parametrize("secure", [False, True])
def test_no_spelling_of_a_private_address_passes_a_redirect(get, secure):
    """The address of the socket is judged, so that it does not matter what a name or number is taken for."""
    with serving(Faulty()) as hidden, serving(Faulty()) as server:
        urls = []
        for number, host in enumerate(LOOPBACK):
            place = f"http{'s' * secure}://{host}:{hidden.port}/ok/{number}".encode()
            head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n"
            server.bodies[f"verbatim/{number}"] = head
            urls.append(server.url(f"verbatim/{number}"))
        rows = get(urls)
        assert [row["url"] for row in rows if row["status"] != "failed"] == []
        assert hidden.asked.total() == 0
        told = [row["reason"].partition(", ")[0] for row in rows]
        assert set(told) <= {
            "leads to a private address",
            "is no valid URL",
            "redirects to something that is no URL",
        } | {"its host's name is not known"}
        assert told.count("leads to a private address") > 20


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1%eth0",
        "fec0::1",
        "2002:7f00:1::",
        "ff02::1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "::ffff:0:7f00:1",
        "2001::1",
        "2001:db8::1",
        "5f00::1",
        "::a00:1",
    ],
)
def test_addresses_that_are_not_of_the_public_internet(address):
    assert is_private(address)
    assert not is_private("8.8.8.8" if "." in address else "2606:4700::1111")


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1, signed by itself; gives the file that holds it and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = made.add_extension(names, critical=True).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = tmp_path / "server.pem"
    path.write_bytes(signed.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return path


def test_plain_http_leads_to_tls_without_credentials_and_never_back(tmp_path, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(Faulty()) as plain, serving(Faulty(), context) as secure:
        safe = f"https://127.0.0.1:{secure.port}/ok/safe.bin"
        there = f"http://me:word@127.0.0.1:{plain.port}/to/x?url={safe}"
        back = f"https://127.0.0.1:{secure.port}/to/y?url={plain.url('ok/plain.bin')}"
        code = "import sys; from hpcflow.ingest import fetch; fetch(sys.argv[3:], *sys.argv[1:2], cache=sys.argv[2], "
        code += "allow_private=True, retries=0)"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "out", tmp_path / "cache", there, back], check=True, timeout=60
        )
        first, second = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
        assert first["reason"] is None
        assert (tmp_path / "out" / first["path"]).read_bytes() == body_of("ok/safe.bin")
        assert "Authorization" in plain.headers["to/x"][0]
        assert "Authorization" not in secure.headers["ok/safe.bin"][0]
        assert second["reason"] == "redirects from https to another scheme, `http`, which is not encrypted"
        assert plain.asked["ok/plain.bin"] == 0
