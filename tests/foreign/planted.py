"""Whether the conformance list finds deviations: plants each of those in planted.txt in a copy of the tree.

    python3 tests/foreign/planted.py [PART OF A NAME]

builds the daemon once for each, and prints the table of what was found. It fails if one was not.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "foreign" / "planted"
PARTS = ["Cargo.toml", "Cargo.lock", "README.md", "proto", "core", "server", "client", "macros", "cli", "tests", "bench"]


def deviations(wanted):
    text = (ROOT / "tests" / "foreign" / "planted.txt").read_text()
    for one in text.split("=== ")[1:]:
        name, rest = one.split("\n--- ", 1)
        file, rest = rest.split("\n", 1)
        find, replace = rest.split("\n+++\n", 1)
        if wanted in name:
            yield name, file, find, replace.removesuffix("\n")


def build():
    environment = {**os.environ, "CARGO_TARGET_DIR": str(HOME / "target"), "RUSTFLAGS": "-Awarnings"}
    cargo = ["cargo", "build", "--quiet", "-p", "mp-manager-cli"]
    subprocess.run(cargo, cwd=HOME / "tree", env=environment, check=True)


def check():
    """What fails first, if anything does, and how many do."""
    environment = {**os.environ, "MP_MANAGER_DAEMON": str(HOME / "target" / "debug" / "mp-manager")}
    checked = subprocess.run([ROOT / ".ci" / "foreign"], env=environment, capture_output=True, text=True)
    failed = [line for line in checked.stderr.splitlines() if line.startswith("FAILED ")]
    if checked.returncode and not failed:
        return "the daemon does not start", 1
    return (failed[0].removeprefix("FAILED ") if failed else None), len(failed)


def main(wanted=""):
    shutil.rmtree(HOME / "tree", ignore_errors=True)
    (HOME / "tree").mkdir(parents=True)
    for part in PARTS:
        # With the time of now: otherwise cargo takes them for what it has built with the last deviation.
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, HOME / "tree" / part, copy_function=shutil.copy)
        else:
            shutil.copy(ROOT / part, HOME / "tree" / part)
    build()
    assert check() == (None, 0), "something is wrong before anything is planted"
    print("| deviation | file | checks that fail | the first |\n|---|---|---|---|", flush=True)
    unseen = 0
    for name, file, find, replace in deviations(wanted):
        path = HOME / "tree" / file
        text = path.read_text()
        assert text.count(find) == 1, f"{name}: its place is {text.count(find)} times in {file}"
        path.write_text(text.replace(find, replace))
        build()
        first, count = check()
        path.write_text(text)
        unseen += first is None
        print(f"| {name} | {file} | {count} | {first or '**not found**'} |", flush=True)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
