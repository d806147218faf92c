"""Compression between gateways: a stock client behind `connect --compress`, a gateway that reaches another in blocks,
and a real server behind that."""

import json
import pathlib
import re
import signal
import subprocess
import urllib.request

from agents import asked
from lines import Lines, text_of
from several import House
from stage import Stage, free_port

CODECS = ("lz4", "zstd")


def figure(admin: int, name: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(int(float(value)) for value in re.findall(rf"^ringgate_{name}_total{{[^}}]*}} (\S+)$", text, re.M))


def server(stage: Stage) -> str:
    spec = stage.upstreams()["filesystem"]
    return f'[upstreams.files]\ncommand = {json.dumps(spec["command"])}\nargs = {json.dumps(spec["args"])}\n'


def a_stock_client_and_a_real_server_are_compressed_in_between(binary: str, stage: Stage) -> str:
    text = "".join(f"{n}: a line of an ordinary file, which looks much like the one before\n" for n in range(3_000))
    path = pathlib.Path(stage.files) / "long.txt"
    path.write_text(text)
    notes = []
    try:
        for codec in CODECS:
            admin = free_port()
            far = House(binary, stage.dir / f"compressed-far-{codec}", server(stage))
            near = House(binary, stage.dir / f"compressed-near-{codec}",
                         f'[admin]\nlisten = "127.0.0.1:{admin}"\n'
                         f'[upstreams.far]\nurl = "tcp://127.0.0.1:{far.port}"\ncompression = "{codec}"\n')
            try:
                command = ["stdio", binary, "connect", f"tcp://127.0.0.1:{near.port}", "--compress", codec]
                calls = [["read_text_file", {"path": str(path)}], ["read_text_file", {"path": str(path) + "x"}]]
                names, read, missing = asked(command, calls, {}, stage.dir)
                assert "read_text_file" in names, names
                assert read["content"][0]["text"] == text, str(read)[:300]
                assert missing["isError"], missing
                # A client of bare lines on the same listener.
                with Lines(near.port) as lines:
                    lines.initialize()
                    assert text_of(lines.call("read_text_file", {"path": str(path)})) == text
                # From the server's side and to the client's: both were blocks.
                ways = {way: (figure(admin, f"block_lines_bytes_{way}"), figure(admin, f"block_bytes_{way}"))
                        for way in ("in", "out")}
                for way, (lines_bytes, bytes_) in ways.items():
                    assert lines_bytes > len(text), (way, ways)
                    assert bytes_ * 2 < lines_bytes, (way, ways)
                notes.append(f"{codec} {ways['out'][0] / ways['out'][1]:.1f}:1")
            finally:
                near.stop()
                far.stop()
    finally:
        path.unlink()
    return ", ".join(notes)


def told(binary: str, *words: str) -> str:
    done = subprocess.run([binary, *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1, (done.returncode, done.stdout[-300:], done.stderr[-300:])
    return done.stderr


def who_cannot_be_compressed_is_told_why(binary: str, stage: Stage) -> None:
    house = House(binary, stage.dir / "compressed-off", "")
    try:
        url = f"tcp://127.0.0.1:{house.port}"
        good = subprocess.run([binary, "call", url, "echo", '{"message": "hi"}', "--compress", "zstd"],
                              capture_output=True, text=True, timeout=30, check=True)
        assert good.stdout == "hi\n", good.stdout
        why = told(binary, "tools", f"http://127.0.0.1:{house.port}/mcp", "--compress", "lz4")
        assert "--compress goes with tcp:// and unix://" in why, why
        # By a reload, too, for those that connect from then on; and there again.
        right = house.path.read_text()
        for text, is_off in ((right.replace("[tcp]\n", '[tcp]\ncompression = ["zstd"]\n', 1), True), (right, False)):
            house.path.write_text(text)
            before = house.log.read_text(errors="replace").count("the configuration is used")
            house.process.send_signal(signal.SIGHUP)
            while house.log.read_text(errors="replace").count("the configuration is used") == before:
                assert house.process.poll() is None, house.log.read_text()[-600:]
            for codec in ("lz4", "zstd"):
                done = subprocess.run([binary, "call", url, "echo", '{"message": "hi"}', "--compress", codec],
                                      capture_output=True, text=True, timeout=30, check=False)
                if is_off and codec == "lz4":
                    assert "compression by lz4 is refused" in done.stderr, done.stderr
                else:
                    assert done.stdout == "hi\n", done.stderr
        assert "compression of listeners: changed" in house.log.read_text()
    finally:
        house.stop()
    config = (stage.dir / "compressed-off" / "ringgate.toml")
    config.write_text(config.read_text().replace("[tcp]\n", '[tcp]\ncompression = "off"\n', 1))
    house.start()
    try:
        why = told(binary, "tools", url, "--compress", "lz4")
        assert "compression by lz4 is refused: this listener's compression is off" in why, why
        # An upstream that asks in vain is one that cannot be reached; the error says why.
        near = House(binary, stage.dir / "compressed-near-off", f'[upstreams.far]\nurl = "{url}"\ncompression = "lz4"\n')
        try:
            with Lines(near.port) as lines:
                lines.initialize()
                answer = json.dumps(lines.call("echo", {"message": "x"}))
                assert "error" in answer, answer
            assert "compression is off" in near.log.read_text(), near.log.read_text()[-500:]
        finally:
            near.stop()
    finally:
        house.stop()


ALL = {f"compressed/{check.__name__.replace('_', '-')}": check for check in (
    a_stock_client_and_a_real_server_are_compressed_in_between,
    who_cannot_be_compressed_is_told_why,
)}
