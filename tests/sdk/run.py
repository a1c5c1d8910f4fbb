"""run.py --build FOLDER [--newest] - the official openai npm package against a real daemon.

The pinned version runs on Debian 12's own Node (18). Without a reachable npm registry the tests count as skipped."""
import argparse
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))
from harness import Realm, tell  # noqa: E402

PINNED = "4.104.0"


def install(folder, version):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "package.json"), "w") as f:
        f.write('{"name":"sdk-test","private":true,"type":"module"}\n')
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat.mjs"), folder)
    return subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "openai@" + version],
                          cwd=folder, timeout=240, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--build", required=True)
    a.add_argument("--newest", action="store_true")
    o = a.parse_args()
    r = Realm(o.build)
    bad = 0
    try:
        folder = r.path("sdk")
        if not install(folder, "latest" if o.newest else PINNED):
            print("skip openai_npm_package (it cannot be installed here)")
            return 0
        r.ready_realm()
        with open(r.path("env"), "w") as f:
            f.write("BASE_URL=https://127.0.0.1:%d/v1\nAPI_KEY=%s\nMODEL=starter\n" % (r.port, r.key))
        p = subprocess.run(["node", "chat.mjs", r.path("env")], cwd=folder, timeout=200, env=dict(os.environ, NODE_EXTRA_CA_CERTS=r.path("ca.crt")),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        sys.stdout.write(p.stdout)
        if p.returncode and "not ok" not in p.stdout:
            tell("sdk_script_runs", False, p.stderr)
        bad = p.returncode
    except Exception as e:
        tell("sdk_realm", False, str(e))
        bad = 1
    finally:
        r.close()
    return bad


sys.exit(main())
