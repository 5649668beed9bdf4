"""A reader of exports: follows the manifests of complete runs, checks every byte, and keeps what they say.

    python3 export_consumer.py FOLDER SECRET_FILE [STATE]

FOLDER is where the runs of one export lie, at any depth. SECRET_FILE has a line `whsec_…` for each secret that the
export ever had; what none of them has signed is refused. STATE, a folder, gets the newest files by day (`changes`) or
the newest files (`snapshot`). Only what is new since the last call is taken in.
"""

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from pathlib import Path

MANIFEST, SUCCESS = "manifest.json", "_SUCCESS"
BEGIN, BETWEEN = b'{"manifest":', b',"signature":'


class Refused(Exception):
    """A set of files that is not what its manifest says, or not what comes next."""


class Folder:
    """Files below a folder of this machine."""

    def __init__(self, root: Path):
        self.root = Path(root)

    def names(self) -> Iterator[str]:
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                yield path.relative_to(self.root).as_posix()

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


class Bucket:
    """Files below a prefix of a bucket; `client` is one of boto3's."""

    def __init__(self, client: object, bucket: str, prefix: str):
        self.client, self.bucket, self.prefix = client, bucket, prefix.rstrip("/") + "/"

    def names(self) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for page in pages:
            for item in page.get("Contents", []):
                yield item["Key"].removeprefix(self.prefix)

    def read(self, name: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()


class Consumer:
    """What a reader has: the bytes of the newest file of each day, or of the newest snapshot (under None)."""

    def __init__(self, place: Folder | Bucket, secrets: list[str]):
        self.place = place
        self.keys = [base64.b64decode(secret.strip().removeprefix("whsec_")) for secret in secrets]
        self.sequence, self.manifest_sha256 = 0, None
        self.files: dict[str | None, bytes] = {}
        self.manifests: list[dict] = []

    def follow(self) -> int:
        """Takes in all complete runs that are new, in the order of their sequence; returns how many."""
        complete = [name for name in self.place.names() if name.rsplit("/", 1)[-1] == SUCCESS]
        runs = sorted((self.read(name.removesuffix(SUCCESS)) for name in complete), key=lambda run: run[1]["sequence"])
        new = [run for run in runs if run[1]["sequence"] > self.sequence]
        for folder, manifest, sha256 in new:
            self.take(folder, manifest)
            self.sequence, self.manifest_sha256 = manifest["sequence"], sha256
            self.manifests.append(manifest)
        return len(new)

    def read(self, folder: str) -> tuple[str, dict, str]:
        """The manifest of a complete run, signed by one of the keys."""
        raw = self.place.read(folder + MANIFEST)
        sha256 = hashlib.sha256(raw).hexdigest()
        if self.place.read(folder + SUCCESS).decode().strip() != sha256:
            raise Refused(f"{folder}: {SUCCESS} belongs to another manifest")
        signed, signature = raw[len(BEGIN):raw.rindex(BETWEEN)], json.loads(raw)["signature"]
        value = base64.b64decode(signature["value"])
        if not any(hmac.compare_digest(hmac.digest(key, signed, "sha256"), value) for key in self.keys):
            raise Refused(f"{folder}: nobody we know has signed this")
        return folder, json.loads(signed), sha256

    def take(self, folder: str, manifest: dict) -> None:
        """Puts the files of a run in the place of those that they replace."""
        previous = manifest["previous"] or {"sequence": 0, "manifest_sha256": None}
        if (previous["sequence"], previous["manifest_sha256"]) != (self.sequence, self.manifest_sha256):
            raise Refused(f"{folder}: follows {previous}, and we have {self.sequence} {self.manifest_sha256}")
        if manifest["mode"] == "snapshot":
            self.files.clear()
        for file in manifest["files"]:
            content = self.place.read(folder + file["path"])
            if (len(content), hashlib.sha256(content).hexdigest()) != (file["bytes"], file["sha256"]):
                raise Refused(f"{folder}{file['path']}: other bytes than the manifest says")
            self.files[file.get("day")] = content
        for day in manifest["deleted_days"]:
            self.files.pop(day, None)


def main(folder: str, secret_file: str, state: str = "") -> int:
    consumer = Consumer(Folder(Path(folder)), Path(secret_file).read_text().split())
    memory = Path(state) / "followed.json" if state else None
    if memory and memory.exists():
        known = json.loads(memory.read_text())
        consumer.sequence, consumer.manifest_sha256 = known["sequence"], known["manifest_sha256"]
    runs = consumer.follow()
    for manifest in consumer.manifests if memory else []:
        ending, days = manifest["file_format"], {file.get("day") for file in manifest["files"]}
        for day in (*days, *manifest["deleted_days"]):
            path = Path(state) / f"{day or 'all'}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if day in consumer.files:
                path.write_bytes(consumer.files[day])
            else:
                path.unlink(missing_ok=True)
    if memory and runs:
        known = {"sequence": consumer.sequence, "manifest_sha256": consumer.manifest_sha256}
        memory.write_text(json.dumps(known))
    print(f"{runs} new runs, up to number {consumer.sequence}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
