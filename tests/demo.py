"""The README's commands, typed as they stand there, and what it shows compared with what comes.

What differs from one time to the next is left out of the comparison: numbers of the demo, keys, times, versions.
Commands of cargo run in the repository; the others in a folder that looks like it, so that nothing is left in the
checkout.
"""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from touchline import DRAIN_S, REPOSITORY, START_TIMEOUT_S, STOP_TIMEOUT_S, Checks, free_port, shorten, wait_until
from wire import exchange

README = REPOSITORY / "README.md"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()
# The address that the README names; ours may be taken.
ADDRESS = "127.0.0.1:8000"
DEMO_COMMAND, TESTS_COMMAND = "cargo run --release -- demo", "cargo test --workspace"
DEMO_READY, DEMO_READY_S = "Serving until Ctrl-C.", 240
CURL_LINES = 4
# Commands are indented.
COMMANDS = "commands"


@dataclass(frozen=True)
class Block:
    """Commands, or what a fence encloses."""

    section: str
    kind: str
    text: str

    @property
    def commands(self) -> list[str]:
        """One after the other. What is indented further goes on with the line before."""
        commands: list[str] = []
        for line in self.text.splitlines():
            if line.startswith(" ") and commands:
                commands[-1] += f"\n{line}"
            elif line:
                commands.append(line)
        return commands


def blocks_of(readme: str) -> list[Block]:
    blocks: list[Block] = []
    section, fence, lines = "", "", []

    def end(kind: str) -> None:
        if lines:
            blocks.append(Block(section, kind, "\n".join(lines).strip("\n")))
        lines.clear()

    for line in readme.splitlines():
        if fence and line != "```":
            lines.append(line)
        elif line.startswith("```"):
            end(fence or COMMANDS)
            fence = "" if fence else line.removeprefix("```")
        elif line.startswith("    ") or (lines and not line):
            lines.append(line.removeprefix("    "))
        else:
            end(COMMANDS)
            section = line.removeprefix("## ") if line.startswith("## ") else section
    end(COMMANDS)
    return blocks


class Readme:
    """Its blocks, in order; each is taken once."""

    def __init__(self, text: str):
        self.blocks = blocks_of(text)

    def take(self, section: str, kind: str) -> Block:
        for place, block in enumerate(self.blocks):
            if (block.section, block.kind) == (section, kind):
                return self.blocks.pop(place)
        raise LookupError(f"README.md has no more {kind} in `{section}`")


class Terminal:
    """A shell in a folder. As a context: opened, and at the end closed."""

    END = "-- end of the command --"

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment = folder, environment
        self.errors = folder / "stderr"

    def __enter__(self) -> "Terminal":
        with self.errors.open("wb") as errors:
            self.shell = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                          text=True, cwd=self.folder, env=self.environment)
        # An answer with an error is none.
        self.type('curl() { command curl --fail --silent --show-error --max-time 30 "$@"; }')
        return self

    def __exit__(self, *_error: object) -> None:
        self.shell.stdin.close()
        self.shell.terminate()
        self.shell.wait()

    def type(self, command: str) -> str:
        """Types a command and waits for its end; returns its standard output."""
        self.shell.stdin.write(f"{command}\nprintf '\\n%s %s\\n' '{self.END}' $?\n")
        self.shell.stdin.flush()
        lines: list[str] = []
        for line in self.shell.stdout:
            if line.startswith(self.END):
                code = int(line.removeprefix(self.END))
                if code != 0:
                    raise RuntimeError(f"`{command}` ended with {code}: {self.errors.read_text()[-2_000:]}")
                # The line break before the end is ours.
                return "".join(lines)[:-1]
            lines.append(line)
        raise RuntimeError(f"the shell ended at `{command}`: {self.errors.read_text()[-2_000:]}")


@contextmanager
def running(command: list[str], checks: Checks, folder: Path, out: Path, err: Path,
            environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A server, stopped at the end as Ctrl-C or a supervisor does it."""
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                   env=environment)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        checks.equal("SIGTERM ends it with exit code 0", process.wait(STOP_TIMEOUT_S), 0)
        checks.true("nothing panicked", "panicked" not in err.read_text(errors="replace"))
    except BaseException:
        said = out.read_text()[-2_000:], err.read_text(errors="replace")[-3_000:]
        print("the end of what it printed:", *said, sep="\n", flush=True)
        raise
    finally:
        process.kill()
        process.wait()


def stable_lines(text: str) -> set[str]:
    """Lines without numbers, keys and the width of columns; `…` stands for lines that are not shown."""
    text = re.sub(r"sk_live_[0-9a-f]{32}", "sk_live_#", text)
    lines = (re.sub(r"\d[\d,.]*", "#", " ".join(line.split())) for line in text.splitlines())
    return {line for line in lines if line and line != "…"}


def demo(checks: Checks, readme: Readme, work: Path) -> None:
    commands = readme.take("", COMMANDS).commands
    checks.equal("the README begins with the demo and the tests", commands, [DEMO_COMMAND, TESTS_COMMAND])
    shown = readme.take("", "text").text
    out, err = work / "demo.out", work / "demo.err"
    # Not into the checkout.
    environment = {**os.environ, "TOUCHLINE_DATA_DIR": str(work / "demo"), "TMPDIR": str(work)}
    started = time.monotonic()
    with running(DEMO_COMMAND.split(), checks, REPOSITORY, out, err, environment) as process:
        is_ready = lambda: process.poll() is not None or DEMO_READY in err.read_text(errors="replace")
        wait_until("the demo serves", is_ready, DEMO_READY_S, 0.2)
        checks.equal("the demo goes on serving", process.poll(), None)
        said = out.read_text()
        print(f"{said}\n      after {time.monotonic() - started:.0f} s", flush=True)
        unsaid = stable_lines(shown) - stable_lines(said)
        checks.equal("lines that the README shows and the demo does not say", unsaid, set())
        lines = [line.strip() for line in said.splitlines() if line.strip().startswith("curl ")]
        checks.equal("curl lines to try", len(lines), CURL_LINES)
        with Terminal(work, environment) as terminal:
            for line in lines:
                answer = terminal.type(line)
                checks.true(f"{len(answer)} characters in answer to {line[:120]}", is_answer(line, answer), answer)


def is_answer(line: str, answer: str) -> bool:
    """Whether it is full, and of the form that was asked for."""
    if "format=csv" in line:
        return len(list(csv.DictReader(io.StringIO(answer, newline=""), strict=True))) > 0
    said = json.loads(answer)
    return said.get("accepted") == 1 if " -d " in line else bool(said["data"])


def metric(address: str, name: str) -> float | None:
    """The value of a metric without labels, if the server is there to tell it."""
    host, port = address.split(":")
    try:
        answer = exchange((host, int(port)), "GET", "/metrics", [("Host", address), ("Connection", "close")], b"", 10)
    except OSError:
        return None
    values = [line.split()[1] for line in answer.text().splitlines() if line.startswith(f"{name} ")]
    return float(values[0]) if answer.status == 200 and values else None


def for_real(checks: Checks, readme: Readme, work: Path) -> None:
    folder = work / "checkout"
    folder.mkdir()
    (folder / "target").symlink_to(TARGET)
    (folder / "tests").symlink_to(HERE)
    address = f"127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    environment |= {"TOUCHLINE_SERVER__LISTEN": address, "TMPDIR": str(work)}
    take, section = readme.take, "Start for real"
    build, path, serve = take(section, COMMANDS).commands
    checks.equal("the server is built and started", (build, serve), ("cargo build --release", "touchline serve"))
    out, err = work / "server.out", work / "server.err"
    command = ["bash", "-c", f"{path}\nexec {serve}"]
    with ExitStack() as stack:
        process = stack.enter_context(running(command, checks, folder, out, err, environment))
        drained = lambda: process.poll() is not None or metric(address, "touchline_log_pending_bytes") == 0
        wait_until("the server is ready", drained, START_TIMEOUT_S)
        terminal = stack.enter_context(Terminal(folder, environment))

        def type_all(block: Block) -> list[str]:
            answers = [terminal.type(command.replace(ADDRESS, address)) for command in block.commands]
            checks.true(f"typed: {shorten(' ; '.join(block.commands), 100)}", process.poll() is None)
            return answers

        terminal.type(path)
        type_all(take(section, COMMANDS))
        [answer] = type_all(take(section, COMMANDS))
        checks.equal("an event is taken", json.loads(answer), json.loads(take(section, "json").text))
        wait_until("it is in the table", drained, DRAIN_S)
        type_all(take(section, COMMANDS))
        as_json, as_csv = type_all(take(section, COMMANDS))
        checks.equal("a report as JSON", stable_report(as_json), stable_report(take(section, "json").text))
        checks.equal("a report as CSV", as_csv.split(), take(section, "csv").text.split())

        section = "Import an access log"
        said = type_all(take(section, COMMANDS))
        checks.equal("an import, twice", [line.strip() for line in said], take(section, "text").text.splitlines())

        section = "Read the tables with other engines"
        for engine, expected in (("Polars", "email"), ("DuckDB", "page_view")):
            program = folder / f"{engine}.py"
            program.write_text(take(section, "python").text)
            command = [sys.executable, program]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            checks.true(f"{engine} reads the tables", done.returncode == 0 and expected in done.stdout, done)


def stable_report(text: str) -> tuple[object, list[str], str, object]:
    said = json.loads(text)
    return said["data"], sorted(said["meta"]), said["meta"]["definition"], said["links"]


def main() -> int:
    checks = Checks("the README's commands")
    readme = Readme(README.read_text())
    with tempfile.TemporaryDirectory(prefix="touchline-demo-") as work:
        demo(checks, readme, Path(work))
        for_real(checks, readme, Path(work))
    left = [(block.section, block.kind) for block in readme.blocks]
    checks.equal("the README has no other commands", left, [])
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
