"""run.py --build FOLDER [--full] [--only NAME] - stories of the whole daemon on the bundled model."""
import argparse
import base64
import glob
import json
import os
import shutil
import signal
import sys
import threading
import time

from harness import ALLOWED, FORBIDDEN, PATIENCE, ROLES, Failed, Realm, in_threads, need, run_stories, tell


def an_allowed_prompt_gets_an_answer_and_a_receipt_that_checks(r):
    status, head, data = r.request("POST", "/v1/chat/completions", {
        "model": "starter", "messages": [{"role": "user", "content": ALLOWED}], "max_tokens": 24, "seed": 1})
    body = json.loads(data)
    need(status == 200, (status, body))
    need(body["object"] == "chat.completion" and body["choices"][0]["message"]["content"], body)
    need(body["usage"]["completion_tokens"] <= 24, body["usage"])
    need(head["content-type"] == "application/json" and head["x-request-id"].startswith("req_"), head)
    status, _, proof = r.request("GET", "/v1/receipts/" + head["x-sallyport-receipt"])
    need(status == 200, (status, proof))
    with open(r.path("p.tlog-proof"), "wb") as f:
        f.write(proof)
    r.sp("receipt", "check", r.path("p.tlog-proof"), "--vkey", r.path("log/vkey"))


def a_forbidden_prompt_is_refused_plain_and_streamed(r):
    for stream in (False, True):
        status, body = r.post("/v1/chat/completions", {"model": "starter", "stream": stream, "messages": [{"role": "user", "content": FORBIDDEN}]})
        need(status == 400 and body["error"]["code"] == "content_filter", (status, body))
        need(set(body["error"]) >= {"message", "type", "param", "code"}, body)


def a_stream_ends_with_receipt_directly_above_done(r):
    out = r.stream(stream_options={"include_usage": True}, max_tokens=40)
    need(out["status"] == 200 and out["done"] and out["finish"] in ("stop", "length"), out)
    need(out["receipt"], "no receipt")
    proof = base64.b64decode(out["receipt"])
    need(proof.startswith(b"c2sp.org/tlog-proof@v1"), proof[:60])
    need(out["events"][-1]["choices"] == [] and out["events"][-1]["usage"]["total_tokens"] > 0, out["events"][-1])
    need(all(e["usage"] is None for e in out["events"][:-1]), "usage must be null before the last")
    need(len({e["id"] for e in out["events"]}) == 1, "one id in all chunks")
    need(out["events"][0]["choices"][0]["delta"].get("role") == "assistant", out["events"][0])


def seeds_repeat_and_n_choices_all_end(r):
    a, b = r.chat(seed=11, temperature=0.9)[1], r.chat(seed=11, temperature=0.9)[1]
    need(a["choices"][0]["message"]["content"] == b["choices"][0]["message"]["content"], "same seed, other text")
    status, body = r.chat(n=3, seed=5)
    need(status == 200 and [c["index"] for c in body["choices"]] == [0, 1, 2], body)
    need(all(c["finish_reason"] for c in body["choices"]), body)


def an_answer_keeps_to_the_schema_it_was_asked_for(r):
    def form(schema):
        return {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    schema = {"type": "object", "properties": {
        "mood": {"enum": ["glad", "sad"]}, "cats": {"type": "integer", "minimum": 0, "maximum": 9},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2}},
        "required": ["mood", "cats", "names"], "additionalProperties": False}

    def right(text):
        v = json.loads(text)
        need(list(v) == ["mood", "cats", "names"] and v["mood"] in ("glad", "sad") and v["cats"] in range(10), v)
        need(len(v["names"]) <= 2 and all(isinstance(n, str) and len(n) <= 8 for n in v["names"]), v)
    status, body = r.chat(response_format=form(schema), max_tokens=120, n=2, temperature=1)
    need(status == 200, body)
    for c in body["choices"]:
        need(c["finish_reason"] == "stop", c)
        right(c["message"]["content"])
    o = r.stream(response_format=form(schema), max_tokens=120)
    need(o["done"] and o["finish"] == "stop" and o["receipt"], o)
    right(o["text"])
    status, body = r.chat(response_format={"type": "json_object"}, max_tokens=60, temperature=1)
    need(status == 200 and body["choices"][0]["message"]["content"].startswith("{"), body)
    status, body = r.chat(response_format=form({"type": "object", "properties": {"secret": {"oneOf": []}}}))
    need(status == 400 and body["error"]["code"] == "unsupported_parameter", body)
    need("'oneOf'" in body["error"]["message"] and "/properties/[0]/oneOf" in body["error"]["message"], body)
    need("secret" not in json.dumps(body), body)


def no_part_of_a_schema_hides_a_forbidden_text(r):
    words = FORBIDDEN.split()
    hidden, decoys = ("".join("[%s%s]" % (d, c) if c.isalnum() or c == " " else "\\" + c for c in FORBIDDEN) for d in ("", "!"))
    for schema in ({"type": "string", "description": FORBIDDEN}, {"const": FORBIDDEN}, {"enum": ["yes", "no", FORBIDDEN]},
                   {"type": "array", "items": {"enum": words}}, {"$ref": "#/$defs/a", "$defs": {"a": {"const": FORBIDDEN}}},
                   {"properties": {w: {"const": w} for w in words}, "additionalProperties": False},
                   {"type": "string", "pattern": "^" + FORBIDDEN.replace("?", "\\?") + "$"},
                   {"type": "string", "pattern": "^(yes|" + hidden + "|never)$"},
                   {"type": "string", "pattern": "^" + decoys + "$"}):
        status, body = r.chat(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
        need(status == 400 and body["error"]["code"] == "content_filter", (schema, status, body))


def a_conversation_that_the_assistant_ends_is_answered(r):
    old = r.role_pid("engine")
    for last in ("Once upon", "On\u200bce up\u200bon"):
        for _ in range(4):
            status, body = r.post("/v1/chat/completions", {"model": "starter", "max_tokens": 8, "messages": [
                {"role": "user", "content": ALLOWED}, {"role": "assistant", "content": last}]})
            need(status in (200, 400), (status, body))
    need(r.role_pid("engine") == old, "the engine was started again")


def models_and_unknown_paths_are_answered(r):
    status, _, data = r.request("GET", "/v1/models")
    need(status == 200 and json.loads(data)["data"][0]["id"] == "starter", data)
    need(r.request("GET", "/v1/models/starter")[0] == 200, "models/starter")
    need(r.request("GET", "/v1/models/other")[0] == 404, "models/other")
    status, _, data = r.request("GET", "/nothing/here")
    need(status == 404 and "/v1/chat/completions" in json.loads(data)["error"]["message"], data)
    need(r.request("GET", "/healthz", key=None)[0] == 200, "healthz")


def unknown_keys_and_models_are_refused(r):
    for key in (None, "sp_" + "0" * 26 + "_" + "0" * 52, "nonsense", r.key[:-1] + ("0" if r.key[-1] != "0" else "1")):
        status, _, data = r.request("POST", "/v1/chat/completions", {"model": "starter", "messages": [{"role": "user", "content": "hi"}]}, key=key)
        need(status == 401 and json.loads(data)["error"]["code"] == "invalid_api_key", (status, data))
    status, body = r.chat(model="gpt-9")
    need(status == 404 and body["error"]["code"] == "model_not_found", body)


def an_overlong_prompt_is_refused_whole(r):
    status, body = r.chat("word " * 4000)
    need(status == 400 and body["error"]["code"] == "context_length_exceeded", (status, body))


def an_enrolment_code_works_once(r):
    status, body = r.post("/enroll", {"code_a": r.halves[0], "code_b": r.halves[1]}, key=None)
    need(status == 400, (status, body))


def after_quiet_intents_equal_outcomes(r):
    r.wait_balanced("nothing runs")
    v = r.verify()
    need(v["ok"] and v["intents"] == v["outcomes"] and v["intents"] > 0, v)


def two_hundred_streams_finish(r):
    ts, out = in_threads(200, lambda i: r.stream("Please tell me about number %d." % i, max_tokens=24, timeout=400))
    for t in ts:
        t.join(420)
    bad = [o for o in out if not isinstance(o, dict) or not (o["done"] and o["finish"])]
    need(not bad, "%d of 200 did not finish; first: %.300r" % (len(bad), bad[0] if bad else None))


def a_client_that_leaves_is_recorded_as_cancelled(r):
    c = r.client()
    c.request("POST", "/v1/chat/completions", body=json.dumps({"model": "starter", "stream": True, "max_tokens": 1500, "messages": [{"role": "user", "content": ALLOWED}]}),
              headers={"Authorization": "Bearer " + r.key, "Content-Type": "application/json"})
    resp = c.getresponse()
    rid = resp.getheader("x-request-id")
    resp.readline()
    c.sock.close() if c.sock else None
    resp.close()
    c.close()

    def recorded():
        return any(e.get("t") == "request.outcome" and e.get("req") == rid for e in r.entries())
    r.wait(recorded, PATIENCE, "the outcome of the cancelled request is in the log")
    mine = [e for e in r.entries() if e.get("t") == "request.outcome" and e.get("req") == rid]
    need(len(mine) == 1 and mine[0]["state"] in ("cancelled", "ok", "length"), mine)


def killed_roles_come_back_and_no_record_is_lost(r):
    for role in ROLES:
        stop = threading.Event()
        got = []

        def client(i):
            while not stop.is_set():
                got.append(r.stream("Say something about item %d." % i, max_tokens=48))
                if got[-1]["cut"] or not got[-1]["done"]:
                    time.sleep(0.1)
        ts, _ = in_threads(8, client)
        time.sleep(1.0)
        old = r.kill_role(role)
        killed = time.monotonic()
        r.wait(lambda: r.role_pid(role) not in (None, old), PATIENCE, role + " is started again")
        r.wait_ready()
        back = time.monotonic() - killed
        time.sleep(0.3)
        stop.set()
        for t in ts:
            t.join(2 * PATIENCE)
        need(r.chat()[0] == 200, "after %s was killed the next good request is not served" % role)
        sys.stderr.write("  %s back after %.2f s\n" % (role, back))
        r.wait_balanced(role + " died")
        log = {e["req"] for e in r.entries() if e.get("t") == "request.outcome"}
        lost = [g["request"] for g in got if g["done"] and g["receipt"] and g["request"] not in log]
        need(not lost, "acknowledged requests missing from the log: %s" % lost)


def a_bad_reload_keeps_the_old_and_a_good_one_is_taken(r):
    conf = open(r.path("sallyport.conf")).read()
    with open(r.path("sallyport.conf"), "w") as f:
        f.write(conf + "\n[engine]\nnonsense = 1\n")
    kept = open(r.path("daemon.log")).read().count("kept the old configuration")
    os.kill(r.main.pid, signal.SIGHUP)
    r.wait(lambda: open(r.path("daemon.log")).read().count("kept the old configuration") > kept, PATIENCE,
           "the bad reload is refused")
    need(r.chat()[0] == 200, "after a bad reload")
    with open(r.path("sallyport.conf"), "w") as f:
        f.write(conf)
    before = open(r.path("tls.crt")).read()
    r.server_certificate()
    os.kill(r.main.pid, signal.SIGHUP)

    def new_certificate():
        import ssl
        der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", r.port), timeout=PATIENCE))
        return der == ssl.PEM_cert_to_DER_cert(open(r.path("tls.crt")).read())
    need(before != open(r.path("tls.crt")).read(), "certificate made anew")
    r.wait(new_certificate, PATIENCE, "the new certificate is served")
    need(r.chat()[0] == 200, "after a good reload")


def suspend_while_streams_run(r, name):
    """Seconds that any stream ran on after an officer's word had been taken."""
    # Answers may end before an officer has typed, however long they are asked to be: so four clients ask
    # again and again, and some answer is always under way when the word falls.
    key, subject, _ = r.vet(name)
    started, last, ends = threading.Event(), [0.0] * 4, [None] * 4

    def go(i):
        def event(o):
            started.set()
            last[i] = time.monotonic()
        until = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < until:
            out = r.stream("Tell me a story about number %d." % i, key=key, max_tokens=1800, on_event=event)
            if out["status"] != 429 and not out["done"]:
                ends[i] = out
                return
            if out["status"] == 429:
                time.sleep(0.02)
    ts, _ = in_threads(4, go)
    need(started.wait(PATIENCE), "no stream started")
    r.sp("subject", "suspend", subject, "--key", r.path("ann.key"), "--reason", "COMPROMISE:test")
    done = time.monotonic()
    for t in ts:
        t.join(3 * PATIENCE)
    need(all(ends), "asked again after the suspension and was answered: %r" % (ends,))
    status, _, data = r.request("POST", "/v1/chat/completions", {"model": "starter", "messages": [{"role": "user", "content": "hi"}]}, key=key)
    need(status in (401, 403), (status, data))
    return max(last) - done


def suspension_stops_running_streams_within_a_second(r):
    ran = []
    for name in ("Second Person", "Second Again", "Second Once More"):
        ran.append(suspend_while_streams_run(r, name))
        if ran[-1] < 1.0:
            return  # a busy machine may delay this test itself: one of three must show it
    raise Failed("streams ran on for %r s" % (ran,))


def one_officer_alone_cannot_vet(r):
    case = r.spj("subject", "new", "--name", "Third Person", "--org", "Demo Org", "--tier", "1", "--key", r.path("ann.key"))["case"]
    r.sp("case", "propose", case, "--key", r.path("ann.key"), "--reason", "APPROVE:x", codes=(0, 7))
    r.sp("case", "sign", case, "--key", r.path("ann.key"), "--reason", "APPROVE:x", codes=(5,))


def a_canary_in_every_field_is_found_nowhere(r):
    canary = "CANARY7f3a9c51e2"
    body = {"model": canary, "user": canary, canary: canary, "stop": [canary], "metadata": {canary: canary},
            "messages": [{"role": "user", "content": "Hello " + canary, "name": canary}]}
    r.request("POST", "/v1/chat/completions?" + canary, body, headers={"X-" + canary: canary, "User-Agent": canary, "traceparent": canary})
    body["model"] = "starter"
    for kind in ("enum", canary):
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": canary, "schema": {
            "title": canary, kind: [canary], "type": "string"}}}
        r.request("POST", "/v1/chat/completions", body)
    del body["response_format"]
    r.request("POST", "/v1/chat/completions", body, headers={"X-" + canary: canary, "User-Agent": canary})
    r.request("GET", "/" + canary, key=canary)
    r.request("GET", "/v1/receipts/" + canary)
    r.post("/enroll", {"code_a": canary, "code_b": canary}, key=None)
    r.request("POST", "/v1/chat/completions", ('{"model":"%s' % canary).encode())
    time.sleep(0.6)
    found = []
    for folder, _, files in os.walk(r.dir):
        for f in files:
            if not os.path.isfile(os.path.join(folder, f)):
                continue
            with open(os.path.join(folder, f), "rb") as h:
                if canary.encode() in h.read():
                    found.append(f)
    need(not found, "canary on disk in %s" % found)
    need(canary not in r.sp("status", codes=None).stdout, "canary in status")
    text = r.metrics()
    need(canary not in text and "sallyport_" in text, text[:200])


def the_metrics_show_what_the_engine_holds_and_name_nobody(r):
    def engine():
        lines = [s.split() for s in r.metrics().splitlines() if s.startswith("sallyport_engine_")]
        return {name[len("sallyport_engine_"):]: int(v) for name, v in lines}
    before = engine()
    text = ALLOWED + " " + "Be so kind and tell it slowly. " * 12
    for _ in range(2):
        status, body = r.chat(text=text, max_tokens=8, seed=1)
        need(status == 200, (status, body))
    r.wait(lambda: engine()["cached_tokens_total"] >= before["cached_tokens_total"] + 64, PATIENCE, "the second prompt's hits are shown")
    r.wait(lambda: engine()["requests"] == 0 and engine()["kv_bytes{state=\"resting\"}"] > 0, PATIENCE, "its pages rest")
    e = engine()
    need(e["kv_bytes{state=\"total\"}"] == 1 << 30, e)
    need(e["kv_bytes{state=\"used\"}"] >= e["kv_bytes{state=\"cached\"}"] >= e["kv_bytes{state=\"resting\"}"], e)
    need(e["guard_tokens_total"] > before["guard_tokens_total"] and e["steps_total"] > before["steps_total"], e)
    need(e["drafted_tokens_total"] == e["accepted_tokens_total"] == 0, e)  # off by default
    labels = {n.split("{")[1].split("=")[0] for n in e if "{" in n}
    need(labels == {"state"}, "labels of the engine: %s" % labels)


def a_clean_stop_under_load_loses_nothing(r):
    ts, out = in_threads(24, lambda i: r.stream("Talk about topic %d." % i, max_tokens=64))
    time.sleep(0.7)
    rc = r.stop()
    for t in ts:
        t.join(2 * PATIENCE)
    need(rc == 0, "exit status %d" % rc)
    v = r.verify()
    need(v["ok"] and v["intents"] == v["outcomes"], v)
    log = {e["req"] for e in r.entries() if e.get("t") == "request.outcome"}
    need(all(o["request"] in log for o in out if isinstance(o, dict) and o["done"]), "an acknowledged answer is missing")


def after_a_clean_stop_any_flipped_byte_is_named(r):
    copy = r.path("flip")
    shutil.copytree(r.path("log"), copy)
    for seg in sorted(glob.glob(os.path.join(copy, "seg-*")))[:1]:
        size = os.path.getsize(seg)
        used = [0, 5, 17, 300, 3000, size // 2, size - 1]
        for at in used:
            with open(seg, "r+b") as f:
                f.seek(at)
                old = f.read(1)
                f.seek(at)
                f.write(bytes([old[0] ^ 0x40]))
            p = r.sp("audit", "verify", copy, "-o", "json", codes=None)
            # below the last signed checkpoint: tampered (1); in the preallocated tail: named, and never ok (2)
            need(p.returncode in (1, 2), "byte %d flipped, yet status %d: %s" % (at, p.returncode, p.stdout[-300:]))
            need(p.returncode == 1 or at >= size // 2, "byte %d is below the checkpoint, yet 'torn'" % at)
            v = json.loads(p.stdout)
            need(not v["ok"] and v["first_bad"]["file"] == os.path.basename(seg), p.stdout)
            need(abs(v["first_bad"]["byte"] - at) < 70000, "flipped %d, named %d" % (at, v["first_bad"]["byte"]))
            with open(seg, "r+b") as f:
                f.seek(at)
                f.write(old)
    shutil.rmtree(copy)


STORIES = [
    an_allowed_prompt_gets_an_answer_and_a_receipt_that_checks, a_forbidden_prompt_is_refused_plain_and_streamed,
    a_stream_ends_with_receipt_directly_above_done, seeds_repeat_and_n_choices_all_end,
    an_answer_keeps_to_the_schema_it_was_asked_for, no_part_of_a_schema_hides_a_forbidden_text,
    a_conversation_that_the_assistant_ends_is_answered, models_and_unknown_paths_are_answered,
    unknown_keys_and_models_are_refused, an_overlong_prompt_is_refused_whole, an_enrolment_code_works_once,
    one_officer_alone_cannot_vet, a_client_that_leaves_is_recorded_as_cancelled, suspension_stops_running_streams_within_a_second,
    a_bad_reload_keeps_the_old_and_a_good_one_is_taken, a_canary_in_every_field_is_found_nowhere,
    the_metrics_show_what_the_engine_holds_and_name_nobody, two_hundred_streams_finish,
    killed_roles_come_back_and_no_record_is_lost, after_quiet_intents_equal_outcomes, a_clean_stop_under_load_loses_nothing,
    after_a_clean_stop_any_flipped_byte_is_named,
]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--build", required=True)
    a.add_argument("--full", action="store_true")
    a.add_argument("--only")
    a.add_argument("--keep", action="store_true")
    o = a.parse_args()
    r = Realm(o.build)
    try:
        try:
            r.ready_realm()
            tell("a_realm_is_born_with_two_officers_and_one_vetted_person", True)
        except Exception as e:
            tell("a_realm_is_born_with_two_officers_and_one_vetted_person", False, str(e))
            sys.stdout.write("".join("# " + x for x in open(r.path("daemon.log")).readlines()[-15:]))
            return 1
        bad = run_stories(r, [s for s in STORIES if not o.only or o.only in s.__name__])
        return 1 if bad else 0
    finally:
        r.close(o.keep)


sys.exit(main())
