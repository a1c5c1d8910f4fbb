"""cuts.py --build FOLDER --cuts N - SIGKILL of the whole daemon under load, again and again.

A cut falls while at least 64 requests are in flight. The oracle is the client's own list: a request is
acknowledged when its receipt and [DONE] arrived. After each restart the log must verify, every
acknowledged request must have its outcome there, and intents must equal outcomes."""
import argparse
import random
import sys
import threading
import time

from harness import Failed, Realm, in_threads, need, tell

IN_FLIGHT = 64


def one_cut(r, rng, acked):
    stop = threading.Event()
    started = []

    def client(i):
        while not stop.is_set():
            started.append(1)
            out = r.stream("Item %d please." % i, max_tokens=4, timeout=30)
            if out["done"] and out["receipt"]:
                acked.append(out["request"])
            elif not stop.is_set():
                time.sleep(0.02)
    ts, _ = in_threads(IN_FLIGHT, client)
    end = time.monotonic() + 20
    while len(started) < IN_FLIGHT and time.monotonic() < end:
        time.sleep(0.01)
    before = len(acked)
    while len(acked) < before + 16 and time.monotonic() < end:
        time.sleep(0.01)  # the cut falls among acknowledgements, not before the first
    time.sleep(rng.uniform(0.0, 0.5))
    stop.set()
    r.kill_all()
    for t in ts:
        t.join(40)
    v = r.verify(codes=(0, 2))  # 2: a torn tail, which the next start repairs and records
    need(v.get("first_bad") in (None, {}) or not v["ok"], v)
    r.start()
    v = r.verify()
    need(v["intents"] == v["outcomes"], "intents %d, outcomes %d" % (v["intents"], v["outcomes"]))
    log = {e["req"] for e in r.entries() if e.get("t") == "request.outcome"}
    lost = [a for a in acked if a not in log]
    need(not lost, "%d acknowledged requests are not in the log: %s" % (len(lost), lost[:3]))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--build", required=True)
    a.add_argument("--cuts", type=int, default=25)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--keep", action="store_true")
    o = a.parse_args()
    rng, acked, done = random.Random(o.seed), [], 0
    r = Realm(o.build)
    try:
        r.ready_realm()
        for i in range(o.cuts):
            one_cut(r, rng, acked)
            done += 1
            sys.stderr.write("cut %d: %d acknowledged so far\n" % (done, len(acked)))
        need(acked, "nothing was ever acknowledged: the test proves nothing")
        tell("%d_cuts_of_the_whole_daemon_lose_no_acknowledged_record" % o.cuts, True)
        return 0
    except Exception as e:
        tell("%d_cuts_of_the_whole_daemon_lose_no_acknowledged_record" % o.cuts, False, "after %d cuts: %s" % (done, e))
        return 1
    finally:
        r.close(o.keep)


sys.exit(main())
