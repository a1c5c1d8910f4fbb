#!/usr/bin/env python3
"""front, gate and admin as real roles behind real TLS; store and engine are doubles on the wire.

Runs under `make check`. Test names say what must hold. Needs python3 and the openssl command
(exit 77, skipped, without). Everything is on loopback and bounded in time: PATIENCE seconds, which
only a failure takes. What must come soon is waited for as a state; what the doubles have printed
is read after Rig.mark()."""
import base64, hashlib, json, os, re, resource, select, shutil, socket, ssl, subprocess, sys, tempfile
import threading, time

RIG = os.path.join(os.environ.get("BUILDDIR", "."), "tests/edge/rig")
B32 = "0123456789abcdefghjkmnpqrstvwxyz"
PATIENCE = 30


def b32(raw):
    """Crockford, most significant bits first, zero bits in front."""
    n = (len(raw) * 8 + 4) // 5
    v = int.from_bytes(raw, "big")
    return "".join(B32[v >> 5 * i & 31] for i in range(n - 1, -1, -1))


KEY = "sp_%s_%s" % (b32(b"\1" * 16), b32(b"\2" * 32))


def make_certs(d):
    def run(*a):
        subprocess.run(["openssl", *a], check=True, cwd=d, capture_output=True)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
        "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for who, ext in (("srv", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                     ("srv2", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                     ("cli", "extendedKeyUsage=clientAuth")):
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            who + ".key", "-out", who + ".csr", "-subj", "/CN=" + who)
        open(os.path.join(d, who + ".ext"), "w").write(ext)
        run("x509", "-req", "-in", who + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", who + ".pem", "-days", "2", "-extfile", who + ".ext")
    shutil.copy(os.path.join(d, "srv.pem"), os.path.join(d, "cert.pem"))
    shutil.copy(os.path.join(d, "srv.key"), os.path.join(d, "key.pem"))


def few_descriptors():
    """The soft limit of a plain shell is small; the roles must raise it themselves."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


class Rig:
    count = 0

    def __init__(self, d, *conf, cert=None, fault=None):
        self.dir, self.lines, self.cert, self.marks = d, [], cert, 0
        Rig.count += 1
        self.sock = os.path.join(d, "admin-%d.sock" % Rig.count)
        self.err = open(os.path.join(d, "stderr-%d" % Rig.count), "w+")
        # the sandboxed roles are not dumpable, so the leak checker cannot attach to them
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        if fault:
            env["SALLYPORT_FAULT"] = fault
        self.p = subprocess.Popen([RIG, d + "/cert.pem", d + "/key.pem", d + "/ca.pem", self.sock, *conf],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err,
                                  text=True, bufsize=1, env=env, preexec_fn=few_descriptors)
        self.port = int(self.p.stdout.readline().split()[1])
        threading.Thread(target=self._read, daemon=True).start()
        for r in ("front", "gate", "admin"):
            self.wait("READY " + r)
        self.until(lambda: self.get("/readyz")[0] == 200, "ready")

    def until(self, test, what):
        """Waits for a state; a connection that is cut meanwhile is only a reason to ask again."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if test():
                    return
            except (OSError, IndexError):
                pass
            time.sleep(0.02)
        raise AssertionError("never %s; stderr %s" % (what, self.stderr()))

    def ready(self, status=200):
        self.until(lambda: self.get("/readyz")[0] == status, "readyz %d" % status)

    def _read(self):
        for line in self.p.stdout:
            self.lines.append((time.monotonic(), line.strip()))

    def seen(self, start, after=0):
        return [x for x in self.lines[after:] if x[1].startswith(start)]

    def wait(self, start, after=0):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.seen(start, after)
            if found:
                return found[0]
            time.sleep(0.002)
        raise AssertionError("never saw %r; saw %r; stderr %s" % (start, self.lines[-20:], self.stderr()))

    def stderr(self):
        self.err.flush()
        return open(self.err.name).read()

    def mark(self):
        """Where the lines of what comes begin: all that the doubles have said so far is read."""
        self.marks += 1
        self.cmd("m")
        self.wait("MARK %d" % self.marks)
        return len(self.lines)

    def cmd(self, c):
        self.p.stdin.write(c + "\n")
        self.p.stdin.flush()

    def stop(self):
        if self.p.poll() is None:
            self.cmd("q")
            self.p.wait(PATIENCE)
        return self.stderr()

    def ctx(self, cert=None, tls=None, alpn=("http/1.1",)):
        c = ssl.create_default_context(cafile=self.dir + "/ca.pem")
        c.check_hostname = False
        if cert:
            c.load_cert_chain(self.dir + "/%s.pem" % cert, self.dir + "/%s.key" % cert)
        if tls:
            c.minimum_version = c.maximum_version = tls
        if alpn:
            c.set_alpn_protocols(list(alpn))
        return c

    def connect(self, ctx=None, name="localhost", session=None, timeout=PATIENCE):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return (ctx or self.ctx(self.cert)).wrap_socket(s, server_hostname=name, session=session)

    def raw(self, data, ctx=None):
        """Sends bytes, returns everything until the end."""
        with self.connect(ctx) as s:
            s.sendall(data)
            return read_all(s)

    def get(self, path, headers=""):
        return parse(self.raw(("GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n" % (path, headers)).encode()))

    def chat(self, text, ctx=None, headers="", **kw):
        return parse(self.raw(chat_bytes(text, headers="Connection: close\r\n" + headers, **kw), ctx=ctx))


def chat_bytes(text, headers="", auth=True, body=None, **kw):
    b = body if body is not None else json.dumps(
        dict({"model": "starter", "messages": [{"role": "user", "content": text}]}, **kw)).encode()
    a = "Authorization: Bearer %s\r\n" % KEY if auth else ""
    return ("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "%s%sContent-Length: %d\r\n\r\n" % (a, headers, len(b))).encode() + b


def read_all(s):
    out = b""
    while True:
        try:
            d = s.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return out
        if not d:
            return out
        out += d


def dechunk(b):
    out = b""
    while True:
        size, b = b.split(b"\r\n", 1)
        n = int(size, 16)
        if n == 0:
            return out
        out += b[:n]
        b = b[n + 2:]


def parse(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin1").split("\r\n")
    h = {}
    for line in lines[1:]:
        k, v = line.split(": ", 1)
        assert k.lower() not in h, "header twice: " + k
        h[k.lower()] = v
    if h.get("transfer-encoding") == "chunked":
        body = dechunk(body)
    return int(lines[0].split()[1]), h, body


def read_one(s, buf=b""):
    """One answer with Content-Length from a kept connection."""
    while b"\r\n\r\n" not in buf:
        d = s.recv(65536)
        assert d, "closed"
        buf += d
    head, _, body = buf.partition(b"\r\n\r\n")
    n = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < n:
        body += s.recv(65536)
    return parse(head + b"\r\n\r\n" + body[:n])


def events(body):
    out = []
    for block in body.decode().split("\n\n"):
        out += [line[6:] for line in block.split("\n") if line.startswith("data: ")]
    return out


def want_error(answer, status, code):
    st, h, body = answer
    assert st == status, (st, h, body)
    e = json.loads(body)["error"]
    assert set(e) == {"message", "type", "param", "code"}, e
    assert e["code"] == code, e
    assert h["content-type"] == "application/json" and h["x-request-id"].startswith("req_"), h
    return e, h


# ---- chat ----

def a_plain_chat_is_answered_as_openai_clients_read_it(r):
    t = time.monotonic()
    st, h, body = r.chat("tokens=3", max_tokens=10)
    took = time.monotonic() - t
    assert st == 200, (st, body)
    o = json.loads(body)
    assert o["object"] == "chat.completion" and o["model"] == "starter", o
    c = o["choices"][0]
    assert c["message"] == {"role": "assistant", "content": "t1 t2 t3 ", "refusal": None}, c
    assert c["finish_reason"] == "stop" and c["index"] == 0
    assert o["usage"]["total_tokens"] == 12 and o["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert h["content-type"] == "application/json"
    assert h["x-sallyport-receipt"][4:] == h["x-request-id"][4:] and h["x-sallyport-receipt"].startswith("rcp_")
    assert h["x-ratelimit-limit-requests"] == "6000" and h["x-ratelimit-reset-requests"] == "20ms"
    assert h["x-ratelimit-remaining-tokens"] == "999000" and h["x-ratelimit-reset-tokens"] == "6m0s"
    assert int(h["openai-processing-ms"]) <= took * 1000 + 1
    assert h["cache-control"] == "no-store" and h["x-accel-buffering"] == "no"


def a_stream_keeps_every_rule_of_the_wire(r):
    st, h, body = r.chat("tokens=3", stream=True)
    assert st == 200 and h["content-type"] == "text/event-stream", (st, h)
    ev = events(body)
    assert ev[-1] == "[DONE]"
    chunks = [json.loads(e) for e in ev[:-1]]
    assert len({c["id"] for c in chunks}) == 1 and chunks[0]["id"].startswith("chatcmpl-")
    assert all(c["object"] == "chat.completion.chunk" and len(c["choices"]) == 1 and "usage" not in c for c in chunks)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all("role" not in c["choices"][0]["delta"] for c in chunks[1:])
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "t1 t2 t3 "
    assert [c["choices"][0]["finish_reason"] for c in chunks][-1] == "stop"
    receipt = base64.b64encode(b"proof\n")
    assert body.endswith(b": sallyport-receipt " + receipt + b"\ndata: [DONE]\n\n"), body[-200:]
    assert b"id:" not in re.sub(rb'"id":', b"", body)


def usage_is_streamed_only_when_asked_for(r):
    st, h, body = r.chat("tokens=2", stream=True, stream_options={"include_usage": True})
    chunks = [json.loads(e) for e in events(body)[:-1]]
    assert all(c["usage"] is None for c in chunks[:-1])
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] == 11


def several_choices_are_kept_apart(r):
    o = json.loads(r.chat("tokens=4", n=2)[2])
    assert [c["index"] for c in o["choices"]] == [0, 1]
    assert all(c["message"]["content"] == "t1 t2 t3 t4 " for c in o["choices"])
    chunks = [json.loads(e) for e in events(r.chat("tokens=4", n=2, stream=True)[2])[:-1]]
    for i in (0, 1):
        mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == i]
        assert mine[0]["delta"]["role"] == "assistant" and mine[-1]["finish_reason"] == "stop"
        assert "".join(m["delta"].get("content", "") for m in mine) == "t1 t2 t3 t4 "


def head_and_first_event_come_in_one_write(r):
    with r.connect() as s:
        s.sendall(chat_bytes("tokens=2 delay=300", stream=True))
        first = s.recv(65536)
        assert b"200 OK" in first and b'"role":"assistant"' in first, first
        read_until(s, b"[DONE]")


def read_until(s, what):
    got = b""
    while what not in got:
        d = s.recv(65536)
        assert d, got[-300:]
        got += d
    return got


def one_connection_serves_many_requests(r):
    with r.connect() as s:
        for i in range(5):
            s.sendall(chat_bytes("tokens=%d" % (i + 1)))
            st, h, body = read_one(s)
            assert st == 200 and len(json.loads(body)["choices"][0]["message"]["content"].split()) == i + 1
        s.sendall(chat_bytes("tokens=2", stream=True))
        got = read_until(s, b"0\r\n\r\n")
        assert b"[DONE]" in got
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_one(s)[0] == 200


def a_long_prompt_travels_by_sealed_memfd(r):
    at = r.mark()
    st, h, body = r.chat("tokens=2 " + "x" * 200000)
    assert st == 200, (st, body)
    r.wait("SUBMITFD", at)


def a_blocked_prompt_is_http_400_also_with_stream(r):
    for stream in (False, True):
        e, h = want_error(r.chat("block me", stream=stream), 400, "content_filter")
        assert h["x-sallyport-receipt"].startswith("rcp_")
    e, h = want_error(r.chat("long one"), 400, "context_length_exceeded")
    assert "5000" in e["message"] and "2048" in e["message"]


def a_revoked_stream_ends_with_an_error_event_and_no_done(r):
    st, h, body = r.chat("revoke tokens=50 delay=2", stream=True)
    ev = events(body)
    assert st == 200 and "[DONE]" not in ev
    assert json.loads(ev[-1])["error"]["code"] == "access_paused", ev[-1]
    want_error(r.chat("revoke tokens=50 delay=2"), 403, "access_paused")


def refusals_of_store_carry_what_clients_need(r):
    want_error(r.chat("x", model="nomodel"), 404, "model_not_found")
    e, h = want_error(r.chat("x", model="ratelimited"), 429, "rate_limit_exceeded")
    assert h["retry-after"] == "2" and h["retry-after-ms"] == "1500" and e["type"] == "requests"
    e, h = want_error(r.chat("x", model="spent"), 429, "insufficient_quota")
    assert h["x-should-retry"] == "false"


def bad_requests_are_named(r):
    want_error(r.chat("x", auth=False), 401, "invalid_api_key")
    assert want_error(r.chat("x", tools=[{"type": "function"}]), 400, "unsupported_parameter")[0]["param"] == "tools"
    assert want_error(r.chat("x", temperature=9), 400, "invalid_request")[0]["param"] == "temperature"
    want_error(r.chat("", body=b'{"model":"m","model":"n"}'), 400, "invalid_request")
    img = {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}
    want_error(r.chat("", body=json.dumps(img).encode()), 422, "unscannable_content")
    e, h = want_error(r.chat("x", auth=False, headers="Accept-Language: vi-VN\r\n"), 401, "invalid_api_key")
    assert "Khóa API" in e["message"] and h["content-language"] == "vi"
    at = r.mark()
    r.chat("x", auth=False)
    r.wait("FLOOD BAD_KEY", at)


# ---- attacks on the framing ----

def no_smuggling_form_passes(r):
    P, H = "POST /v1/chat/completions HTTP/1.1\r\n", "Host: h\r\n"
    forms = [P + H + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             P + H + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
             P + H + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
             P + H + "Content-Length : 4\r\n\r\nabcd",
             P + H + "Content-Length: +4\r\n\r\nabcd",
             P + H + "Content-Length: 4, 4\r\n\r\nabcd",
             P + H + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             P + H + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
             P + H + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
             P + H + "Transfer-Encoding:\tx\r\n\r\n0\r\n\r\n",
             P + H + "Transfer-Encoding: chunked\r\n\r\n4;a=b\r\nabcd\r\n0\r\n\r\n",
             P + H + "Transfer-Encoding: chunked\r\n\r\n4\nabcd\r\n0\r\n\r\n",
             P + H + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcdX\r\n0\r\n\r\n",
             P + H + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
             "GET / HTTP/1.1\nHost: a\n\n",
             "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX: a\x1b[2J\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
             "GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
             "GET / HTTP/1.1\r\n\r\n",
             "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX: " + "a" * 20000 + "\r\n\r\n"]
    for f in forms:
        raw = r.raw(f.encode("latin1"))
        assert raw.count(b"HTTP/1.1 ") == 1 and raw.startswith(b"HTTP/1.1 400 "), (f[:200], raw[:300])
        e, h = want_error(parse(raw), 400, "invalid_request")
        assert h["connection"] == "close"
    assert r.chat("tokens=1")[0] == 200


def a_good_but_greedy_head_is_served(r):
    q = "&".join("a%d=b" % i for i in range(1200))
    cookies = "; ".join("c%d=d" % i for i in range(500))
    st, h, body = r.get("/healthz?" + q, "Cookie: %s\r\n" % cookies + "".join("X-%d: y\r\n" % i for i in range(90)))
    assert st == 200 and body == b'{"status":"alive"}\n', (st, body)


def bytes_of_a_second_request_before_the_answer_are_one_400(r):
    two = chat_bytes("tokens=3 delay=50") + chat_bytes("tokens=3")
    raw = r.raw(two)
    assert raw.count(b"HTTP/1.1 ") == 1 and raw.startswith(b"HTTP/1.1 400 "), raw[:300]
    with r.connect() as s:  # also when they come a moment later
        at = r.mark()
        s.sendall(chat_bytes("hang"))
        r.wait("SUBMIT", at)
        s.sendall(b"G")
        raw = read_all(s)
        assert raw.count(b"HTTP/1.1 ") == 1 and raw.startswith(b"HTTP/1.1 400 "), raw[:300]


def later_bytes_wait_until_the_answer_is_out(r):
    with r.connect() as s:
        s.sendall(chat_bytes("tokens=10 delay=20", stream=True))
        got = read_until(s, b'"role"')
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        got += read_all(s)
        got = got[got.index(b'"role"'):]  # without the first head, which says 200 too
        assert got.index(b"[DONE]") < got.index(b"HTTP/1.1 200 OK"), got


def bodies_are_capped(r):
    big = 300 * 1024
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n" % KEY
    raw = r.raw((head + "Content-Length: %d\r\n\r\n" % (big * 1024)).encode())
    want_error(parse(raw), 413, "request_too_large")
    chunk = b"%x\r\n" % big + b"x" * big + b"\r\n"
    raw = r.raw((head + "Transfer-Encoding: chunked\r\n\r\n").encode() + chunk * 5)
    assert raw.count(b"HTTP/1.1 ") == 1, raw[:300]
    want_error(parse(raw), 413, "request_too_large")
    body = json.dumps({"model": "starter", "messages": [{"role": "user", "content": "tokens=2"}]}).encode()
    parts = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7))
    raw = r.raw((head + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n").encode() + parts + b"0\r\n\r\n")
    assert parse(raw)[0] == 200, raw


def expect_100_continue_works(r):
    with r.connect() as s:
        whole = chat_bytes("tokens=1", headers="Expect: 100-continue\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        s.sendall(head + b"\r\n\r\n")
        got = s.recv(1000)
        assert got == b"HTTP/1.1 100 Continue\r\n\r\n", got
        s.sendall(body)
        assert read_one(s)[0] == 200


def one_byte_at_a_time_is_cut_with_408(d):
    r = Rig(d, "head-timeout = 1s", "body-timeout = 1500ms")
    try:
        for start, more in ((b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: ", b"a" * 600),
                            (chat_bytes("tokens=1" + " " * 600)[:-600], b" " * 599)):
            t, got, sent = time.monotonic(), b"", 0
            with r.connect() as s:
                s.sendall(start)
                s.settimeout(0.1)
                while sent < len(more):  # in 60 s: whatever comes does not move the deadline
                    try:
                        s.sendall(more[sent:sent + 1])
                        sent += 1
                        got += s.recv(65536)
                        break
                    except TimeoutError:
                        pass
                s.settimeout(PATIENCE)
                got += read_all(s)
            assert got.startswith(b"HTTP/1.1 408 "), got[:200]
            assert 1 <= sent < len(more) and time.monotonic() - t > 0.9, (sent, time.monotonic() - t)
    finally:
        r.stop()


# ---- TLS ----

def plain_http_gets_one_helpful_answer(r):
    with socket.create_connection(("127.0.0.1", r.port), timeout=PATIENCE) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        e, h = want_error(parse(read_all(s)), 400, "tls_required")
        assert "https://" in e["message"]


def tls_speaks_1_2_and_1_3_with_http_1_1_and_never_alerts_on_alpn(r):
    for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with r.connect(r.ctx(tls=v)) as s:
            assert s.selected_alpn_protocol() == "http/1.1"
    with r.connect(r.ctx(alpn=("h2", "spdy/3"))) as s:
        assert s.selected_alpn_protocol() is None
    assert r.chat("tokens=1", ctx=r.ctx(alpn=("h2",)))[0] == 200


def sessions_resume(r):
    for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = r.ctx(tls=v)
        with r.connect(c) as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            read_one(s)
            session = s.session
        with r.connect(c, session=session) as s:
            assert s.session_reused, v
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            assert read_one(s)[0] == 200


def a_client_certificate_reaches_store_as_its_thumbprint(r):
    der = ssl.PEM_cert_to_DER_cert(open(r.dir + "/cli.pem").read())
    thumb = hashlib.sha256(der).hexdigest()[:8]
    c = r.ctx(cert="cli", tls=ssl.TLSVersion.TLSv1_3)
    at = r.mark()
    with r.connect(c) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        read_one(s)
        session = s.session
    assert r.wait("PEER cert=1", at)[1] == "PEER cert=1 addr=127.0.0.1 thumb=" + thumb
    r.wait("PEERGONE", at)
    at = r.mark()
    with r.connect(c, session=session) as s:  # a resumed session still has its certificate
        assert s.session_reused
    assert r.wait("PEER cert=1", at)[1].endswith(thumb)
    r.wait("PEERGONE", at)


def broken_tls_ends_that_connection_only(r):
    for junk in (b"\x16\x03\x01\x00\x05hello", b"\x16" + b"\xff" * 600, b"\x80" * 50, b"\x00"):
        with socket.create_connection(("127.0.0.1", r.port), timeout=PATIENCE) as s:
            s.sendall(junk)
            read_all(s)
    with r.connect() as s:  # garbage inside an open connection
        raw = s.detach()
        t = socket.socket(fileno=raw)
        t.sendall(b"\x17\x03\x03\x00\x20" + b"\x55" * 32)
        t.settimeout(PATIENCE)
        read_all(t)
        t.close()
    assert r.chat("tokens=1")[0] == 200


def a_silent_client_is_cut_at_the_handshake_deadline(d):
    r = Rig(d, "handshake-timeout = 1s")
    try:
        t = time.monotonic()
        with socket.create_connection(("127.0.0.1", r.port), timeout=PATIENCE) as s:
            assert read_all(s) == b""
        assert time.monotonic() - t > 0.9
    finally:
        r.stop()


def a_half_closed_client_still_gets_its_answer(r):
    sock = socket.create_connection(("127.0.0.1", r.port), timeout=PATIENCE)
    i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
    t = r.ctx().wrap_bio(i, o, server_hostname="localhost")

    def step(fn):
        while True:
            try:
                v = fn()
                sock.sendall(o.read())
                return v
            except ssl.SSLWantReadError:
                sock.sendall(o.read())
                d = sock.recv(65536)
                if not d:
                    return b""
                i.write(d)
    step(t.do_handshake)
    at = r.mark()
    step(lambda: t.write(chat_bytes("tokens=5 delay=50", stream=True)))
    read = step(lambda: t.read(65536))
    try:
        t.unwrap()  # close_notify, without ending TCP
    except ssl.SSLError:
        pass  # the server's own is not there yet, but perhaps more of the answer
    sock.sendall(o.read())
    # python does not read after unwrap; what still flows is TLS records until the server's end
    n = len(read)
    while True:
        d = sock.recv(65536)
        if not d:
            break
        n += len(d)
    sock.close()
    assert b"200 OK" in read and n > 5 * 200, (read, n)
    r.wait("DONE", at)
    assert not r.seen("CANCEL", at)


# ---- clients that go, clients that crawl ----

def leave(r, how):
    """Seconds from the client's going to the CANCEL that engine gets."""
    at = r.mark()
    s = r.connect()
    s.sendall(chat_bytes("hang", stream=how != "while_waiting"))
    if how != "while_waiting":
        read_until(s, b'"role"')
    else:
        r.wait("SUBMIT", at)
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    t = time.monotonic()
    s.close()
    seen, _ = r.wait("CANCEL", at)
    r.wait("PEERGONE", at)
    return seen - t


def a_client_that_goes_cancels_within_100_ms(r):
    for how in ("close", "reset", "while_waiting"):
        # a busy machine may delay this test itself: four in a row of forty must show it
        times, row = [], 0
        while row < 4 and len(times) < 40:
            times.append(leave(r, how))
            row = row + 1 if times[-1] < 0.1 else 0
        assert row == 4, (how, times)


def a_client_gone_before_store_answers_drops_the_lease_quietly(r):
    at = r.mark()
    s = r.connect()
    s.sendall(chat_bytes("x", model="mute"))
    r.wait("AUTH", at)
    s.close()
    r.wait("PEERGONE", at)
    assert r.chat("tokens=1")[0] == 200


def a_slow_reader_slows_only_itself(r):
    at = r.mark()
    s = socket.create_connection(("127.0.0.1", r.port), timeout=PATIENCE)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow = r.ctx().wrap_socket(s, server_hostname="localhost")
    slow.sendall(chat_bytes("tokens=20000", stream=True))
    r.wait("SUBMIT", at)
    with r.connect() as quick:  # asks for as much, and later, and has it all
        tail = b""
        quick.sendall(chat_bytes("tokens=20000", stream=True))
        while b"[DONE]" not in tail:
            tail = tail[-16:] + quick.recv(65536)
    r.mark()
    done = r.seen("DONE", at)
    assert len(done) == 1, done  # the slow one's engine waits for credit
    read_until(slow, b"t300 ")  # it is alive and in order
    slow.close()
    r.wait("CANCEL", at)


def two_hundred_streams_run_at_once(r):
    ctx, ok, bad = r.ctx(), [], []

    def one():
        try:
            st, h, body = parse(r.raw(chat_bytes("tokens=30 delay=20", stream=True, headers="Connection: close\r\n"),
                                      ctx=ctx))
            text = "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in events(body)[:-1])
            (ok if st == 200 and text.split() == ["t%d" % i for i in range(1, 31)] else bad).append(st)
        except Exception as e:
            bad.append(repr(e))
    threads = [threading.Thread(target=one) for _ in range(200)]
    t = time.monotonic()
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    assert len(ok) == 200, bad[:5]
    print("    200 streams of 30 tokens in %.1f s" % (time.monotonic() - t))


# ---- the other endpoints ----

def the_small_endpoints_answer(r):
    auth = "Authorization: Bearer %s\r\n" % KEY
    assert r.get("/healthz")[0] == 200 and r.get("/readyz")[0] == 200 and r.get("/health")[0] == 200
    o = json.loads(r.get("/v1/models", auth)[2])
    assert o["object"] == "list" and [m["id"] for m in o["data"]] == ["starter", "other"]
    assert json.loads(r.get("/v1/models/starter", auth)[2])["id"] == "starter"
    want_error(r.get("/v1/models/none", auth), 404, "model_not_found")
    want_error(r.get("/v1/models"), 401, "invalid_api_key")
    st, h, body = r.get("/v1/receipts/rcp_" + b32(b"\3" * 16), auth)
    assert st == 200 and h["content-type"].startswith("text/plain") and body.startswith(b"c2sp.org/")
    want_error(r.get("/v1/receipts/nonsense", auth), 404, "not_found")
    e, _ = want_error(r.get("/v1/nothing"), 404, "not_found")
    assert "/v1/chat/completions" in e["message"]
    e, h = want_error(r.get("/v1/chat/completions"), 405, "not_found")
    assert h["allow"] == "POST"

    def enroll(a, b):
        body = json.dumps({"code_a": a, "code_b": b}).encode()
        return parse(r.raw(b"POST /enroll HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    assert json.loads(enroll("A-good", "B-x")[2])["api_key"] == "sp_x_y"
    want_error(enroll("A-bad", "B-x"), 400, "invalid_enrolment_code")


def the_admin_socket_carries_verbs_and_the_uid(r):
    def ask(req):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE)
        s.connect(r.sock)
        s.sendall(req.encode())
        return parse(read_all(s))
    H = " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    st, h, body = ask("GET /admin/v1/status" + H + "\r\n")
    assert st == 200 and json.loads(body) == {"schema_version": 1, "verb": 1, "uid": os.getuid(), "got": {}}, body
    o = json.loads(ask("GET /admin/v1/quotas/sub_1/explain?limit=5" + H + "\r\n")[2])
    assert o["verb"] == 11 and o["got"] == {"id": "sub_1", "limit": "5"}, o
    o = json.loads(ask("POST /admin/v1/statements" + H + "Content-Length: 7\r\n\r\n{\"a\":1}")[2])
    assert o["verb"] == 3 and o["got"] == {"a": 1}
    st, h, body = ask("GET /metrics" + H + "\r\n")
    assert body == b"sallyport_up 1\n" and h["content-type"].startswith("text/plain")
    assert ask("GET /healthz" + H + "\r\n")[0] == 200
    assert ask("GET /admin/v1/nothing" + H + "\r\n")[0] == 404
    assert ask("POST /admin/v1/status" + H + "Content-Length: 0\r\n\r\n")[0] == 405
    assert ask("GET /admin/v1/subjects/%7e" + H + "\r\n")[0] == 400
    assert ask("GET / HTTP/1.1\nHost: x\n\n")[0] == 400


def an_engine_that_breaks_the_rules_is_counted_and_harms_nobody(r):
    for stream in (False, True):
        st, h, body = r.chat("odd tokens=3", stream=stream)
        assert st == 200 and b"too early" not in body, body
    at = r.mark()
    st, h, body = r.chat("badutf8 tokens=100 delay=5", stream=True)
    ev = events(body)
    assert st == 200 and json.loads(ev[-1])["error"]["code"] == "internal_error", ev[-1]
    r.wait("CANCEL", at)
    want_error(r.chat("badutf8 tokens=100"), 500, "internal_error")
    assert r.stderr().count("ev=odd from=engine") >= 8


def a_silent_store_means_no_admission(r):
    r.cmd("s")
    r.ready(503)
    want_error(r.chat("tokens=1"), 503, "audit_unavailable")
    assert r.get("/readyz")[0] == 503 and r.get("/healthz")[0] == 200
    r.cmd("S")
    r.ready()
    assert r.chat("tokens=1")[0] == 200


def a_dying_engine_ends_its_answers_and_a_new_one_serves(r):
    with r.connect() as s, r.connect() as p:
        s.sendall(chat_bytes("hang", stream=True))
        read_until(s, b'"role"')
        at = r.mark()
        p.sendall(chat_bytes("hang"))
        r.wait("SUBMIT", at)
        r.cmd("e")
        got = read_until(s, b"0\r\n\r\n")
        assert b'"code":"overloaded"' in got and b"[DONE]" not in got, got
        want_error(read_one(p), 503, "overloaded")
    r.ready()
    assert r.chat("tokens=2", stream=True)[0] == 200


def a_dying_store_refuses_and_a_new_one_learns_who_is_connected(r):
    with r.connect() as s, r.connect() as w:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        read_one(s)
        at = r.mark()
        w.sendall(chat_bytes("x", model="mute"))
        r.wait("AUTH", at)
        at = r.mark()
        r.cmd("t")
        want_error(read_one(w), 503, "audit_unavailable")
        r.wait("PEER ", at)
        r.ready()
        s.sendall(chat_bytes("tokens=2"))
        assert read_one(s)[0] == 200


def a_new_certificate_is_taken_and_old_connections_live_on(r):
    def serial():
        with r.connect() as s:
            return s.getpeercert()["serialNumber"]
    old = serial()
    with r.connect() as s:
        s.sendall(chat_bytes("tokens=20 delay=30", stream=True))
        for x in ("pem", "key"):
            os.replace(shutil.copy(r.dir + "/srv2." + x, r.dir + "/tmp"), r.dir + ("/cert.pem" if x == "pem" else "/key.pem"))
        r.cmd("r")
        r.wait("READY front 2")
        read_until(s, b"[DONE]")
    r.until(lambda: serial() != old, "a new certificate")  # READY is said a moment before it holds
    new, at = serial(), r.mark()
    open(r.dir + "/key.pem", "w").write("rubbish")
    r.cmd("r")
    r.wait("BAD front", at)
    shutil.copy(r.dir + "/srv2.key", r.dir + "/key.pem")
    assert serial() == new and r.chat("tokens=1")[0] == 200  # a bad reload changed nothing


def a_drain_finishes_what_runs(r):
    with r.connect() as s, r.connect() as idle:
        s.sendall(chat_bytes("tokens=20 delay=30", stream=True))
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        read_one(idle)
        read_until(s, b'"role"')
        r.cmd("d")
        read_until(s, b"[DONE]")
        assert idle.recv(100) == b""
    assert r.wait("DRAINED front")[1] == "DRAINED front 1"
    assert r.wait("DRAINED gate")[1] == "DRAINED gate 1"


def nothing_a_client_chose_is_logged(r):
    c = "CANARY" + "q7x"
    r.raw(("GET /%s HTTP/1.1\r\nHost: %s\r\nX-%s: %s\r\nConnection: close\r\n\r\n" % (c, c, c, c)).encode())
    r.raw(("GET /%s HTTP/1.1\r\nHost: a\r\n%s : x\r\n\r\n" % (c, c)).encode())
    r.chat(c, model=c, user=c, headers="X-Request-Id: %s\r\n" % c)
    try:
        r.connect(name=c).close()
    except (ssl.SSLError, OSError):
        pass
    text = r.stderr() + "\n".join(x for _, x in r.lines)
    assert c not in text and KEY not in text and "xin ch" not in text


def required_certificates_and_names_are_required(d):
    r = Rig(d, "client-cert = required", "client-ca = %s/ca.pem" % d, "server-name = localhost", cert="cli")
    try:
        assert r.chat("tokens=1")[0] == 200
        for ctx, name in ((r.ctx(), "localhost"), (r.ctx(cert="cli"), "other.example")):
            try:
                with r.connect(ctx, name=name) as s:
                    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
                    got = s.recv(100)
            except (ssl.SSLError, OSError):
                got = b""
            assert got == b"", got
    finally:
        r.stop()


def open_up_to(r, n):
    held = []
    for _ in range(n):
        try:
            held.append(r.connect())
        except (ssl.SSLError, OSError):
            break
    return held


def limits_hold_before_the_handshake(d):
    r = Rig(d, "max-per-address = 8")

    def eight():
        held = open_up_to(r, 12)
        for s in held:
            s.close()
        assert len(held) <= 8, len(held)
        return len(held) == 8  # fewer while front has not yet seen that earlier ones went
    try:
        r.until(eight, "eight at once")
        r.ready()
        assert r.chat("tokens=1")[0] == 200
    finally:
        r.stop()


def an_idle_connection_is_closed_and_a_waiting_one_is_not(d):
    r = Rig(d, "idle-timeout = 1s")
    try:
        with r.connect() as waits:
            waits.sendall(chat_bytes("hang"))
            with r.connect() as streams:
                streams.sendall(chat_bytes("hang", stream=True))
                for speaks in (True, False):
                    t = time.monotonic()
                    with r.connect() as s:
                        if speaks:
                            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
                            assert read_one(s)[0] == 200
                        assert read_all(s) == b"" and time.monotonic() - t > 0.8
                time.sleep(1.5)  # longer than an idle one may stay
                r.mark()
                assert len(r.seen("SUBMIT")) == 2 and not r.seen("CANCEL")
    finally:
        r.stop()


class Pinged(threading.Thread):
    """A stream without tokens, watched in the background while the other tests run."""
    def __init__(self, d):
        super().__init__(daemon=True)
        self.rig, self.seen = Rig(d), b""
        self.start()

    def run(self):
        with self.rig.connect() as s:
            s.sendall(chat_bytes("hang", stream=True))
            self.seen = read_until(s, b": ping\n\n")


def a_silent_stream_is_kept_alive_by_comments(d):
    PINGED.join(PATIENCE)
    PINGED.rig.stop()
    assert PINGED.seen.endswith(b": ping\n\n\r\n"), PINGED.seen[-200:]


def when_gate_dies_its_clients_are_cut_at_once(d):
    r = Rig(d)
    try:
        with r.connect() as s, r.connect() as idle:
            s.sendall(chat_bytes("hang", stream=True))
            read_until(s, b'"role"')
            r.cmd("g")
            assert read_all(idle) == b""  # both end long before any deadline of theirs
            assert b"[DONE]" not in read_all(s)
        r.wait("PEERGONE")
    finally:
        r.stop()


FAULTS = ("front.accept front.epoll front.ssl front.pair pump.ssl_read pump.ssl_write pump.send pump.recv "
          "http.req http.answer http.stream http.recv http.send http.pair http.table http.mhd_add gate.greq "
          "gate.conn admin.req body.memfd").split()


def try_chat(r, text):
    try:
        return r.chat(text)[0]
    except (OSError, IndexError, ValueError):
        return 0


def one_failing_call_ends_one_connection_and_nothing_else(d):
    if subprocess.run([RIG, "has-faults"]).returncode:
        print("    (skipped: built without --enable-fault)")
        return
    for point in FAULTS:
        for nth in (2,):
            r = Rig(d, fault="%s:%d" % (point, nth))
            try:
                good = 0
                for _ in range(12):
                    try:
                        st, h, body = r.chat("tokens=3" + ("x" * 70000 if point == "body.memfd" else ""),
                                             stream=True)
                        good = good + 1 if st == 200 and b"[DONE]" in body else 0
                    except (OSError, IndexError, ValueError):
                        good = 0
                    if good == 6:
                        break
                assert good == 6, (point, nth, good, r.stderr()[-500:])
                plain = [try_chat(r, "tokens=2") for _ in range(3)]
                assert plain[1:] == [200, 200] or plain[:2] == [200, 200], (point, plain)
            finally:
                r.stop()


SHARED = [v for k, v in list(globals().items()) if callable(v) and getattr(v, "__code__", None)
          and v.__code__.co_varnames[:1] == ("r",) and v.__code__.co_argcount == 1]
SHARED.sort(key=lambda t: t is a_drain_finishes_what_runs)  # last: nothing is served after it
ALONE = [one_byte_at_a_time_is_cut_with_408, a_silent_client_is_cut_at_the_handshake_deadline,
         required_certificates_and_names_are_required, limits_hold_before_the_handshake,
         when_gate_dies_its_clients_are_cut_at_once, an_idle_connection_is_closed_and_a_waiting_one_is_not,
         a_silent_stream_is_kept_alive_by_comments, one_failing_call_ends_one_connection_and_nothing_else]


def main():
    if not shutil.which("openssl"):
        print("skipped: no openssl command")
        return 77
    only = sys.argv[1:]
    failed = passed = 0
    global PINGED
    with tempfile.TemporaryDirectory() as d:
        make_certs(d)
        PINGED = Pinged(d)
        rig = Rig(d, "handshake-timeout = 60s", "client-cert = optional", "client-ca = %s/ca.pem" % d)
        for t in SHARED + ALONE:
            if only and t.__name__ not in only:
                continue
            t0 = time.monotonic()
            try:
                t(rig if t in SHARED else d)
                passed += 1
                print("ok   %s (%.1f s)" % (t.__name__, time.monotonic() - t0))
            except Exception as e:
                failed += 1
                print("FAIL %s: %s: %s" % (t.__name__, type(e).__name__, str(e)[:1500]))
            sys.stdout.flush()
        err = rig.stop()
        if failed or "ERROR" in err or "Sanitizer" in err:
            print(err[-4000:])
            failed += "Sanitizer" in err
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
