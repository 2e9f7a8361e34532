"""Event files and profiles of real runs, read by programs that are not ours.

    watch_test.py PROGRAM own|tensorboard|profile
"""
import glob
import json
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.argv[1]).resolve()
CONFIG = {
    "model": {"vocab_size": 32, "width": 32, "layers": 2, "heads": 2, "qk_norm": True},
    "data": {"synthetic": {"validation_windows": 8}}, "sequence_length": 32, "batch_size": 4, "steps": 40, "threads": 2,
    "optimizer": {"lr": 1e-2, "max_norm": 1, "rules": [{"match": {}, "weight_decay": 0.1}]},
    "log": {"every": 1, "traces_every": 5, "formats": ["jsonl", "tensorboard"]},
    "validation": {"every": 10, "batches": 2}, "checkpoint": {"every": 7},
}


def train(folder, *arguments, status=0):
    (folder / "config.json").write_text(json.dumps(CONFIG))
    done = subprocess.run([PROGRAM, "train", "config.json", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def killed_and_resumed(folder):
    """A run that is killed after a checkpoint and some steps past it, and goes on."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    command = [PROGRAM, "train", "config.json", "--out", "run", "--set", "steps=40000", "--set", "checkpoint.every=50"]
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    log = folder / "run/metrics.jsonl"
    while child.poll() is None and (not log.exists() or log.read_text().count("\n") < 90):
        time.sleep(0.005)
    child.kill()
    child.wait()
    child = subprocess.Popen([*command, "--resume"], cwd=folder, stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    while child.poll() is None and log.read_text().count("\n") < 150:
        time.sleep(0.005)
    child.send_signal(signal.SIGTERM)
    assert child.wait() == 143
    files = sorted(glob.glob(f"{folder}/run/tensorboard/*tfevents*"))
    assert len(files) == 2
    return folder / "run", files


def logged(run):
    """{(tag, step): value} of the JSONL logs, which is what event files must say."""
    out = {}
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        for key in ("loss", "lr", "grad_norm", "clip_factor", "tokens_per_second"):
            if key in line:
                out[f"{line['kind']}/{key}", line["step"]] = line[key]
    gammas = {}
    for line in map(json.loads, (run / "traces.jsonl").read_text().splitlines()):
        for row in line["groups"]:
            for key, value in row.items():
                if isinstance(value, float):
                    out[f"{key}/{row['name']}", line["step"]] = value
        for row in line["params"]:
            if "gamma_quantiles" in row:
                gammas[f"gamma/{row['name']}", line["step"]] = (row["gamma_quantiles"], row["count"])
    return out, gammas


def same_float(a, b):
    return struct.pack("<f", a) == struct.pack("<f", b)


def check_scalars(found, expected):
    assert expected.keys() == found.keys(), expected.keys() ^ found.keys()
    for key, value in expected.items():
        assert same_float(found[key], value), (key, found[key], value)


def check_gamma(minimum, maximum, number, limits, counts, expected):
    quantiles, count = expected
    assert minimum == quantiles[0] and maximum == quantiles[-1] and number == count
    assert abs(sum(counts) - count) < 1e-9 * count and list(limits) == sorted(set(limits))
    assert set(limits) == set(quantiles)
    shares = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    for limit in limits:  # the share up to a quantile is the quantile's
        below = sum(c for l, c in zip(limits, counts) if l <= limit)
        at = max(s for s, q in zip(shares, quantiles) if q == limit)
        assert abs(below - at * count) < 1e-9 * count, (limit, below, at)


# A decoder of TFRecord and protocol buffers' wire format, bit by bit and without tables.

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    while data:
        (length,), (crc,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert crc == masked(data[:8])
        message = data[12:12 + length]
        assert len(message) == length and struct.unpack("<I", data[12 + length:16 + length])[0] == masked(message)
        yield message
        data = data[16 + length:]


def fields(data):
    """{field: [value]}; a value is an int, or bytes."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            assert kind in (1, 2, 5)
            value, at = data[at:at + size], at + size
            assert len(value) == size
        out.setdefault(key >> 3, []).append(value)
    return out


def doubles(data):
    return struct.unpack(f"<{len(data) // 8}d", data)


def test_own(folder):
    run, files = killed_and_resumed(folder)
    scalars, gammas, times = {}, {}, []
    for number, file in enumerate(files):
        data = Path(file).read_bytes()
        if number == 0:  # a kill may tear the last record
            end = 0
            while end + 12 <= len(data) and end + 16 + struct.unpack("<Q", data[end:end + 8])[0] <= len(data):
                end += 16 + struct.unpack("<Q", data[end:end + 8])[0]
            data = data[:end]
        events = [fields(m) for m in records(data)]
        assert events[0][3] == [b"brain.Event:2"]
        if number == 1:
            assert fields(events[1][7][0]) == {1: [1]}
            restart = events[1][2][0]
            assert restart > 50 and restart % 50 == 1
            scalars = {k: v for k, v in scalars.items() if k[1] < restart}
            gammas = {k: v for k, v in gammas.items() if k[1] < restart}
        for event in events:
            times.append(doubles(event[1][0])[0])
            for value in map(fields, [v for s in event.get(5, []) for v in fields(s).get(1, [])]):
                key = value[1][0].decode(), event[2][0]
                if 2 in value:
                    scalars[key] = struct.unpack("<f", value[2][0])[0]
                else:
                    h = fields(value[5][0])
                    gammas[key] = [doubles(h[i][0])[0] for i in (1, 2, 3)] + [doubles(h[i][0]) for i in (6, 7)]
    assert times == sorted(times) and abs(times[-1] - time.time()) < 600
    expected, expected_gammas = logged(run)
    check_scalars(scalars, expected)
    assert gammas.keys() == expected_gammas.keys() and gammas
    for key, h in gammas.items():
        check_gamma(*h, expected_gammas[key])


def test_tensorboard(folder):
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError as error:
        print(f"skipped: TensorBoard is not importable ({error}); pip install tensorboard")
        return 77
    run, _ = killed_and_resumed(folder)
    reader = event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    reader.Reload()
    expected, expected_gammas = logged(run)
    tags = reader.Tags()
    check_scalars({(tag, e.step): e.value for tag in tags["scalars"] for e in reader.Scalars(tag)}, expected)
    found = {(tag, e.step): e.histogram_value for tag in tags["histograms"] for e in reader.Histograms(tag)}
    assert found.keys() == expected_gammas.keys() and found
    for key, h in found.items():
        check_gamma(h.min, h.max, h.num, h.bucket_limit, h.bucket, expected_gammas[key])
    return 0


def check_profile(folder, run, first, last):
    trace = json.loads((folder / run / "profile.json").read_text())
    events = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert all(e["dur"] >= 0 for e in events)
    # Where a trace is taken of a GPU too, annotations are shown there once more.
    said = sorted((e for e in events if e.get("cat") == "user_annotation"), key=lambda e: (e["ts"], -e["dur"]))
    steps = [e for e in said if e["name"].startswith("step ")]
    assert [e["name"] for e in steps] == [f"step {i}" for i in range(first, last + 1)]
    phases = [e for e in said if not e["name"].startswith("step ")]
    operators = [e for e in events if e.get("cat") == "cpu_op"]
    for step in steps:  # each has its phases, in this order and without overlap, and they make up most of it
        inside = [e for e in phases if step["ts"] <= e["ts"] and e["ts"] + e["dur"] <= step["ts"] + step["dur"] + 0.002]
        names = [e["name"] for e in inside]
        assert names[:3] == ["batch", "forward", "backward"] and "optimizer" in names and names.count("log") == 1, names
        for a, b in zip(inside, inside[1:]):
            assert a["ts"] + a["dur"] <= b["ts"] + 0.002, (a, b)
    names = {e["name"] for e in operators}
    assert "aten::embedding" in names and any("Backward" in n for n in names), sorted(names)
    forward = next(e for e in phases if e["name"] == "forward")
    assert any(forward["ts"] <= e["ts"] <= forward["ts"] + forward["dur"] for e in operators if e["name"] == "aten::embedding")
    return [e["name"] for e in phases]


def test_profile(folder):
    text = train(folder, "--out", "some", "--profile", "12")
    assert "profile of steps 3 to 14, " in text and "some/profile.json" in text, text
    names = check_profile(folder, "some", 3, 14)
    assert names.count("checkpoint") == 2 and names.count("validation") == 1 and names.count("traces") == 2 * 2, names
    train(folder, "--out", "short", "--profile", "100", "--set", "steps=4")
    check_profile(folder, "short", 1, 4)
    train(folder, "--out", "none", "--set", "steps=4")
    assert not (folder / "none/profile.json").exists()
    return 0


def main():
    with tempfile.TemporaryDirectory(prefix="scalevec-watch-") as name:
        return {"own": test_own, "tensorboard": test_tensorboard, "profile": test_profile}[sys.argv[2]](Path(name)) or 0


sys.exit(main())
