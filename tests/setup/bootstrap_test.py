#!/usr/bin/env python3
"""scripts/bootstrap.sh from a folder with a space in its name, with stand-ins for apt, dpkg, pip and unzip on PATH: it waits
for another program's lock, tries a failed fetch again, takes up what an interrupted call left, and refuses a wrong wheel."""
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(sys.argv[1])
WHEEL = b"not a wheel, but of a known checksum"
CHECKSUM = hashlib.sha256(WHEEL).hexdigest()

STAND_INS = {
    # Installed is what the file `installed` names; apt-get fails as often as the file `failures` says.
    "dpkg-query": 'grep -qx "${@: -1}" "$STATE/installed" && echo "install ok installed"',
    "dpkg": "true",
    "id": "echo 0",
    "nvcc": "true",
    "apt-get": '''echo "apt-get $*" >>"$STATE/calls"
left=$(cat "$STATE/failures"); if ((left > 0)); then echo $((left - 1)) >"$STATE/failures"; exit 100; fi
for word in "$@"; do case $word in -*|install|update) ;; *) echo "$word" >>"$STATE/installed" ;; esac; done''',
    # pip download; there is no torch to import.
    "python3": '''[[ $1 == -c ]] && exit 1
echo "pip $*" >>"$STATE/calls"
left=$(cat "$STATE/failures"); if ((left > 0)); then echo $((left - 1)) >"$STATE/failures"; exit 1; fi
while [[ $1 != --dest ]]; do shift; done
cp "$STATE/wheel" "$2/torch-2.11.0-cp311.whl"''',
    "unzip": '''echo unzip >>"$STATE/calls"
while [[ $1 != -d ]]; do shift; done; mkdir -p "$2/torch"''',
}


class Machine:
    def __init__(self, folder):
        self.tree = folder / "a folder" / "scale vec"
        (self.tree / "scripts").mkdir(parents=True)
        script = (ROOT / "scripts/bootstrap.sh").read_text()
        pinned = [line for line in script.splitlines() if line.startswith("torch_sha256=")]
        assert len(pinned) == 1, pinned
        (self.tree / "scripts/bootstrap.sh").write_text(script.replace(pinned[0], f"torch_sha256={CHECKSUM}"))
        (self.tree / "scripts/bootstrap.sh").chmod(0o755)
        self.state = folder / "state"
        self.state.mkdir()
        for name in ("installed", "calls"):
            (self.state / name).write_text("")
        (self.state / "failures").write_text("0")
        (self.state / "wheel").write_bytes(WHEEL)
        self.lock = folder / "lock"
        self.lock.write_text("")
        stand_ins = folder / "bin"
        stand_ins.mkdir()
        for name, body in STAND_INS.items():
            (stand_ins / name).write_text("#!/bin/bash\n" + body + "\n")
            (stand_ins / name).chmod(0o755)
        self.environment = {k: v for k, v in os.environ.items() if k not in ("CMAKE_PREFIX_PATH", "Torch_DIR")}
        self.environment |= {"PATH": f"{stand_ins}:{os.environ['PATH']}", "STATE": str(self.state),
                             "SCALEVEC_APT_LOCKS": str(self.lock), "SCALEVEC_RETRY_PAUSE": "0"}

    def start(self, *arguments, **environment):
        return subprocess.Popen([str(self.tree / "scripts/bootstrap.sh"), *arguments], cwd=self.tree.parent, text=True,
                                env=self.environment | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def call(self, *arguments, **environment):
        process = self.start(*arguments, **environment)
        text = process.communicate(timeout=120)[0]
        return process.returncode, text

    def calls(self):
        text = (self.state / "calls").read_text()
        (self.state / "calls").write_text("")
        return text

    def fail(self, times):
        (self.state / "failures").write_text(str(times))


def check(condition, *shown):
    if not condition:
        raise AssertionError("\n".join(str(s) for s in shown))


def from_nothing_and_again(m):
    status, text = m.call("parallel")
    check(status == 0 and (m.tree / ".deps/libtorch/torch").is_dir(), status, text)
    calls = m.calls()
    check("install" in calls and "parallel" in calls and "pip -m" in calls and "unzip" in calls, calls)
    check([p.name for p in (m.tree / ".deps").iterdir() if p.name not in ("lock", "libtorch")] == [], "left-overs in .deps")
    status, text = m.call("parallel")
    check(status == 0 and text == "" and m.calls() == "", "a second call did something", text)


def waits_for_a_lock(m):
    with open(m.lock, "w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        process = m.start()
        line = process.stdout.readline() + process.stdout.readline()
        check("waiting for process" in line and "lock of apt" in line, line)
        time.sleep(1)
        check(process.poll() is None and m.calls() == "", "did not wait")
    text = process.communicate(timeout=120)[0]
    check(process.returncode == 0 and "install" in m.calls(), text)


def gives_up_on_a_lock(m):
    with open(m.lock, "w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        status, text = m.call(SCALEVEC_APT_WAIT="2")
    check(status == 1 and "has held the lock of apt for 2 seconds" in text and m.calls() == "", status, text)


def tries_again(m):
    m.fail(3)
    status, text = m.call()
    check(status == 0 and text.count("again in") == 3 and "update of the package lists failed (try 3 of 4)" in text, status, text)
    m.calls()
    shutil.rmtree(m.tree / ".deps")
    m.fail(2)
    status, text = m.call()
    check(status == 0 and "fetch of LibTorch failed (try 2 of 4)" in text and m.calls().count("pip -m") == 3, status, text)
    shutil.rmtree(m.tree / ".deps")
    m.fail(4)
    status, text = m.call()
    check(status == 1 and "could not fetch torch" in text and not (m.tree / ".deps/libtorch").exists(), status, text)
    m.fail(0)
    check(m.call()[0] == 0 and (m.tree / ".deps/libtorch/stamp").exists(), "did not go on")


def goes_on_where_it_stopped(m):
    fetched = m.tree / ".deps/fetch"
    fetched.mkdir(parents=True)
    (fetched / "torch-2.11.0-cp311.whl").write_bytes(WHEEL)
    (m.tree / ".deps/unpack/torch").mkdir(parents=True)
    (m.tree / ".deps/fetch.Xyz123").mkdir()
    status, text = m.call()
    check(status == 0 and "is there already" in text and "pip -m" not in m.calls(), status, text)
    check(sorted(p.name for p in (m.tree / ".deps").iterdir()) == ["libtorch", "lock"], "left-overs in .deps")
    shutil.rmtree(m.tree / ".deps")
    fetched.mkdir(parents=True)
    (fetched / "torch-2.11.0-cp311.whl").write_bytes(WHEEL[:10])
    status, text = m.call()
    check(status == 0 and "pip -m" in m.calls(), "took half a wheel", text)


def refuses_a_wrong_wheel(m):
    (m.state / "wheel").write_bytes(b"something else")
    status, text = m.call()
    check(status == 1 and "checksum" in text and not (m.tree / ".deps/libtorch").exists(), status, text)
    check(list((m.tree / ".deps").rglob("*.whl")) == [], "kept the wrong wheel")


for case in (from_nothing_and_again, waits_for_a_lock, gives_up_on_a_lock, tries_again, goes_on_where_it_stopped,
             refuses_a_wrong_wheel):
    with tempfile.TemporaryDirectory() as scratch:
        case(Machine(pathlib.Path(scratch)))
    print(case.__name__.replace("_", " "), flush=True)
