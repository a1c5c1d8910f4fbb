"""stages.py --build FOLDER [--rounds N] - what each stage of the way adds, on a real daemon over TLS.

Every figure is a median over N rounds on one kept connection. The rounds are interleaved, so a noisy
machine hurts all stages alike; the controls (bare fdatasync, bare TLS echo of /healthz) stand in the same run."""
import argparse
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "daemon"))
from harness import ALLOWED, FORBIDDEN, Realm, need  # noqa: E402


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--build", required=True)
    a.add_argument("--rounds", type=int, default=40)
    o = a.parse_args()
    r = Realm(o.build)
    try:
        r.ready_realm()
        conn = r.client()
        head = {"Authorization": "Bearer " + r.key, "Content-Type": "application/json"}

        def call(method, path, body=None, want=200):
            t = time.perf_counter()
            conn.request(method, path, body=json.dumps(body) if body else None, headers=head)
            resp = conn.getresponse()
            resp.read()
            need(resp.status == want, (path, resp.status))
            return (time.perf_counter() - t) * 1e3

        def chat(text, n, want=200):
            return call("POST", "/v1/chat/completions", {"model": "starter", "max_tokens": n, "seed": 1,
                                                         "messages": [{"role": "user", "content": text}]}, want)
        fd = os.open(r.path("fsync-control"), os.O_RDWR | os.O_CREAT, 0o600)

        def fsync_control():
            t = time.perf_counter()
            os.pwrite(fd, b"x" * 512, 0)
            os.fdatasync(fd)
            return (time.perf_counter() - t) * 1e3
        stages = [
            ("control: one bare fdatasync", fsync_control),
            ("front + gate (GET /healthz)", lambda: call("GET", "/healthz")),
            ("+ store: key, state, quota (GET /v1/models)", lambda: call("GET", "/v1/models")),
            ("+ guard and log, refused (blocked prompt)", lambda: chat(FORBIDDEN, 1, 400)),
            ("+ model, 1 token", lambda: chat(ALLOWED, 1)),
            ("+ model, 32 tokens", lambda: chat(ALLOWED, 32)),
        ]
        seen = {name: [] for name, _ in stages}
        for _ in range(o.rounds):
            for name, fn in stages:
                seen[name].append(fn())
        print("%-46s %10s %10s %10s" % ("stage, ms", "median", "p90", "added"))
        last = 0.0
        for i, (name, _) in enumerate(stages):
            v = sorted(seen[name])
            m = statistics.median(v)
            print("%-46s %10.2f %10.2f %10s" % (name, m, v[int(len(v) * 0.9) - 1], "%.2f" % (m - last) if i > 1 else "-"))
            if i > 0:
                last = m
    finally:
        r.close()


main()
