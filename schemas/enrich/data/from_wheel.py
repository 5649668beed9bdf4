"""Writes uap-core.json from a wheel of `ua-parser-builtins` (PyPI), which holds one month's state of uap-core.

    pip download --no-deps ua-parser-builtins
    python from_wheel.py ua_parser_builtins-202610-py3-none-any.whl > uap-core.json

The rules for browsers and operating systems are taken over word for word, without what they say of versions; those for
devices are left out.
"""

import ast
import json
import sys
import zipfile
from pathlib import Path

LISTS = {
    "USER_AGENT_PARSERS": ("user_agent_parsers", "family_replacement"),
    "OS_PARSERS": ("os_parsers", "os_replacement"),
}


def rules(module: ast.Module, name: str, replacement: str) -> list[dict[str, str]]:
    """The calls in the list called `name`: a pattern, and perhaps the name that it stands for."""
    assigned = [node for node in module.body if isinstance(node, ast.Assign) and node.targets[0].id == name]
    found = []
    for call in assigned[0].value.elts:
        given = [ast.literal_eval(argument) for argument in call.args] + [None]
        if call.keywords:
            raise ValueError(f"a rule of another form: {given[0]}")
        found.append({"regex": given[0]} | ({replacement: given[1]} if given[1] else {}))
    return found


def main() -> None:
    wheel = Path(sys.argv[1])
    with zipfile.ZipFile(wheel) as files:
        revision = files.read("REVISION").decode().strip()
        module = ast.parse(files.read("ua_parser_builtins/regexes.py"))
    parts = [f'"revision": {json.dumps(revision)}', f'"release": {json.dumps(wheel.name.split("-")[1])}']
    for name, (key, replacement) in LISTS.items():
        lines = [json.dumps(rule, ensure_ascii=False) for rule in rules(module, name, replacement)]
        parts.append(f'"{key}": [\n' + ",\n".join(lines) + "\n]")
    print("{\n" + ",\n".join(parts) + "\n}")


if __name__ == "__main__":
    main()
