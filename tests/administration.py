"""The API and the commands administer one installation: each sees and feels what the other changed, and all is noted."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from touchline import Checks, Key, Touchline, wait_until

# What is changed elsewhere must be felt this soon.
FELT_S = 5
PASSWORDS = ("correct horse battery", "another horse battery")
JOB_S = 60


def as_key(slug: str, made: dict) -> Key:
    return Key(slug, made["environment"], made["key"], made["key_id"])


def keys(checks: Checks, touchline: Touchline, admin: Key) -> None:
    opens = lambda key: touchline.get("/api/v1/validate", key).status == 200
    made = touchline.post("/api/v1/keys", {"scopes": ["can_view_reports"], "name": "by-api"}, admin).json()
    by_api = as_key("shop", made)
    listed = touchline.command("key", "list", "--account", "shop")
    checks.true("the command lists what the API made, without its secret", "by-api" in listed and made["key"] not in listed)
    rotated = touchline.command_json("key", "rotate", by_api.key_id, "--account", "shop")
    by_command = as_key("shop", rotated)
    checks.equal("a rotated key keeps its id", rotated["key_id"], by_api.key_id)
    checks.true("the new secret opens", opens(by_command))
    wait_until("the old secret is refused", lambda: not opens(by_api), FELT_S)
    answer = touchline.post(f"/api/v1/keys/{by_api.key_id}/rotate", {"grace_s": 3_600}, admin).json()
    by_grace = as_key("shop", answer)
    checks.true("within the grace both secrets open", opens(by_command) and opens(by_grace))
    touchline.post(f"/api/v1/keys/{by_api.key_id}/revoke", {}, admin)
    checks.true("a revocation by the API is felt at once", not opens(by_command) and not opens(by_grace))


def settings(checks: Checks, touchline: Touchline, admin: Key) -> None:
    patch = lambda body: touchline.request("PATCH", "/api/v1/settings", body, [("Content-Type", "application/json")], admin)
    checks.equal("settings are changed", patch(b'{"time_zone":"Europe/Berlin","retention_days":90}').status, 200)
    shown = touchline.command_json("account", "settings", "shop")
    checks.equal("the command shows them", shown["settings"], {"time_zone": "Europe/Berlin", "retention_days": 90})
    touchline.command("account", "settings", "shop", "mask_ip=false", "--unset", "retention_days")
    now = touchline.get("/api/v1/settings", admin).json()["settings"]
    checks.equal("the API shows the command's", (now["mask_ip"], now["retention_days"]), (False, None))
    refused = patch(b'{"retention_days":0,"colour":"red"}')
    pointers = [error["pointer"] for error in refused.json()["errors"]]
    checks.equal("wrong settings are named", (refused.status, pointers), (422, ["/colour", "/retention_days"]))


def accounts(checks: Checks, touchline: Touchline, admin: Key) -> None:
    made = touchline.post("/api/v1/accounts", {"slug": "second"}, admin).json()
    touchline.slugs.add("second")
    key = touchline.key("second")
    validate = lambda: touchline.get("/api/v1/validate", key)
    checks.equal("the command makes a key for the API's account", validate().status, 200)
    touchline.command("account", "suspend", "second")
    wait_until("the suspension is felt", lambda: validate().status == 401, FELT_S)
    checks.equal("and says so", validate().json()["code"], "suspended_account")
    touchline.post(f"/api/v1/accounts/{made['account_id']}/resume", {}, admin)
    wait_until("the account works again", lambda: validate().status == 200, FELT_S)
    foreign = touchline.get("/api/v1/keys", key, account_id=touchline.account_id(admin))
    checks.equal("a key without the scope learns nothing", foreign.status, 403)


def users(checks: Checks, touchline: Touchline, admin: Key) -> None:
    first, second = PASSWORDS
    ada = ("ada@mail.example", "--account", "shop")
    exit_code = lambda told, *arguments: touchline.run("user", *arguments, told=told).returncode
    made = exit_code(f"{first}\n", "create", *ada, "--role", "owner")
    checks.equal("a user is created with a password from stdin", made, 0)
    checks.equal("a short password is refused", exit_code("short\n", "set-password", *ada), 1)
    checks.equal("a password is set", exit_code(second, "set-password", *ada), 0)
    listed = touchline.get("/api/v1/users", admin).json()["data"]
    checks.equal("the API lists the user", [(user["email"], user["role"]) for user in listed], [(ada[0], "owner")])


def exports(checks: Checks, touchline: Touchline, admin: Key) -> None:
    shop = ("--account", "shop")
    by_name = lambda: {row["name"]: row for row in touchline.get("/api/v1/exports", admin).json()["data"]}
    named = {"source": {"report": "traffic", "params": {"by": "channel"}}, "destination": "file:sales"}
    made = touchline.post("/api/v1/exports", {"name": "by-api", "format": "csv.gz", "last_days": 7, **named}, admin)
    checks.true("the API makes an export", made.status == 201, made.text())
    export = made.json()
    listed = touchline.command("export", "list", *shop)
    checks.true("the command lists it, without its secret", "by-api" in listed and "whsec_" not in listed)
    definition = touchline.data_dir / "definition.json"
    definition.write_text(json.dumps({"name": "by-command", "format": "parquet", **named}))
    second = touchline.command_json("export", "create", str(definition), *shop)
    definition.unlink()
    checks.true("the command makes one, and shows its secret", second["signing_secret"].startswith("whsec_"))
    checks.equal("the API lists both", sorted(by_name()), ["by-api", "by-command"])

    schedule = {"cron": "0 0 6 1 1 *", "time_zone": "Europe/Vienna"}
    address = f"/api/v1/exports/{export['export_id']}"
    content_type = [("Content-Type", "application/json")]
    body = json.dumps({"schedule": schedule, "name": "renamed"}).encode()
    checks.equal("the API changes it", touchline.request("PATCH", address, body, content_type, admin).status, 200)
    touchline.command("export", "pause", "renamed", *shop)
    paused = touchline.get(address, admin).json()
    checks.equal("the command's pause is seen", (paused["is_paused"], paused["next_run_at"]), (True, None))
    resumed = touchline.command_json("export", "resume", "renamed", *shop)
    checks.equal("the command sees the API's change", (resumed["schedule"], resumed["is_paused"]), (schedule, False))
    checks.true("it follows its schedule again", touchline.get(address, admin).json()["next_run_at"] is not None)
    refused = touchline.request("PATCH", address, b'{"name":"by-command"}', content_type, admin)
    checks.equal("a name is taken once", (refused.status, refused.json()["code"]), (409, "name_taken"))

    rotated = touchline.command_json("export", "rotate-secret", "renamed", *shop)
    secrets_differ = rotated["signing_secret"] != export["signing_secret"] and rotated["key_id"] != export["key_id"]
    checks.true("the command rotates the secret", secrets_differ)
    checks.equal("the API names the new key", by_name()["renamed"]["key_id"], rotated["key_id"])
    checks.equal("the API deletes it", touchline.request("DELETE", address, key=admin).status, 200)
    touchline.command("export", "delete", "by-command", *shop)
    checks.equal("nothing is left of both", (by_name(), touchline.command_json("export", "list", *shop)), ({}, []))


def jobs(checks: Checks, touchline: Touchline, admin: Key) -> None:
    started = touchline.post("/api/v1/jobs/sessions/run", {"full": True}, admin)
    checks.true("a job is started, or runs", started.status in (202, 409), started.text())
    if started.status == 202:
        run_id = started.json()["run_id"]
        runs = lambda: touchline.get("/api/v1/jobs/sessions/history", admin).json()["data"]
        ended = lambda: any(run["run_id"] == run_id and run["status"] == "succeeded" for run in runs())
        wait_until("the run has succeeded", ended, JOB_S)
    names = [job["job"] for job in touchline.get("/api/v1/jobs", admin).json()["data"]]
    listed = [job["job"] for job in touchline.command_json("jobs", "list")]
    checks.equal("both list the same jobs", sorted(names), sorted(listed))


def audit(checks: Checks, touchline: Touchline, admin: Key) -> None:
    entries = touchline.get("/api/v1/audit", admin).json()["data"]
    told = [(entry["action"], entry["actor"].split(":")[0]) for entry in reversed(entries)]
    expected = [
        ("account.create", "cli"), ("key.create", "cli"),
        ("key.create", "key"), ("key.rotate", "cli"), ("key.rotate", "key"), ("key.revoke", "key"),
        ("settings.change", "key"), ("settings.change", "cli"),
        ("user.create", "cli"), ("user.change", "cli"),
        ("export.create", "key"), ("export.create", "cli"), ("export.change", "key"), ("export.change", "cli"),
        ("export.change", "cli"), ("export.rotate_key", "cli"), ("export.delete", "key"), ("export.delete", "cli"),
    ]
    checks.equal("every change is noted in order, with who made it", told, expected)
    by_command = touchline.command("audit", "--limit", "1000")
    checks.true("the command lists them, of all accounts", by_command.count("key.rotate") == 2 and "suspend" in by_command)


def secrets(checks: Checks, touchline: Touchline, admin: Key) -> None:
    kept = [path for path in touchline.data_dir.rglob("*") if path.is_file()] + [touchline.log_file]
    texts = [secret.encode() for secret in (*PASSWORDS, admin.secret)]
    found = [str(path) for path in kept if any(text in path.read_bytes() for text in texts)]
    checks.equal("no file holds a key or a password", found, [])
    checks.true("no log holds a secret that signs", "whsec_" not in touchline.log_file.read_text())


def main() -> int:
    checks = Checks("administration by API and commands")
    with Touchline(checks) as touchline:
        admin = touchline.key("shop", scopes=("admin",))
        for part in (keys, settings, accounts, users, exports, jobs, audit, secrets):
            part(checks, touchline, admin)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
