"""What the API's document says in words only, for schemathesis, which reads schemas.

Requests that are to be valid are made so here: exactly one SSH key, a key that is one, ports but for
icmp, a source network, names and ids of things that are there. Requests that are to be invalid are
left alone.
"""

import random

import requests
import schemathesis
from schemathesis import GenerationMode

KEY = "schemathesis"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMRuB/9ys540yPp2PQ4vDXagSO9KxsbjJ4s9jUiLKJY2"
# Where the ids of a path are listed.
LISTS = {
    "/api/v1/instances/{id}": "/api/v1/instances",
    "/api/v1/ssh-keys/{id}": "/api/v1/ssh-keys",
    "/api/v1/filesystems/{id}": "/api/v1/file-systems",
    "/api/v1/firewall-rulesets/{id}": "/api/v1/firewall-rulesets",
}
# How often what is named is to be there.
OFTEN = 0.7


def is_valid(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def is_stateful(case):
    return case.meta is not None and case.meta.phase.name == "stateful"


@schemathesis.hook
def before_call(context, case, kwargs):
    if is_stateful(case) and isinstance(case.body, dict) and isinstance(case.body.get("instance_ids"), str):
        # An id of an earlier answer, which schemathesis puts where a list of them belongs.
        case.body["instance_ids"] = [case.body["instance_ids"]]
    if not is_valid(case):
        return
    if isinstance(case.body, dict):
        body = case.body
        for field in ("rules", "data"):
            if isinstance(body.get(field), list):
                body[field] = [sound_rule(rule) for rule in body[field]]
        if case.path == "/api/v1/ssh-keys" and "public_key" in body:
            body["public_key"] = PUBLIC_KEY
        if case.path.endswith("/launch"):
            sound_launch(case, body)
        if "instance_ids" in body and random.random() < OFTEN:
            body["instance_ids"] = ids(case, "/api/v1/instances")[:2]
    if case.query and case.path.endswith("/audit-events"):
        # Tokens come from an earlier answer.
        case.query.pop("page_token", None)
    if case.path in LISTS and not is_stateful(case) and random.random() < OFTEN:
        there = ids(case, LISTS[case.path])
        if there:
            case.path_parameters["id"] = random.choice(there)


def sound_rule(rule):
    rule = dict(rule)
    if rule["protocol"] == "icmp":
        rule.pop("port_range", None)
    else:
        rule["port_range"] = sorted(rule.get("port_range", [22, 22]))
    rule["source_network"] = random.choice(["0.0.0.0/0", "1.2.3.4", "10.0.0.0/8"])
    return rule


def sound_launch(case, body):
    body["ssh_key_names"] = (body["ssh_key_names"] + ["there"])[:1]
    points, ids_ = set(), set()
    mounts = []
    for mount in body.get("file_system_mounts", []):
        if mount["mount_point"] not in points and mount["file_system_id"] not in ids_:
            points.add(mount["mount_point"])
            ids_.add(mount["file_system_id"])
            mounts.append(mount)
    if "file_system_mounts" in body:
        body["file_system_mounts"] = mounts
    body.pop("quantity", None)
    if random.random() < OFTEN:
        body["instance_type_name"] = "gpu_1x_gh200"
        body["ssh_key_names"] = [key_name(case)]
        for field in ("file_system_mounts", "file_system_names", "firewall_rulesets", "image"):
            if random.random() < OFTEN:
                body.pop(field, None)
        if "image" in body:
            body["image"] = {"family": "lambda-stack-22-04"}


def call(case, method, path, body=None):
    base = case.operation.schema.config.base_url.rstrip("/")
    headers = {"Authorization": f"Bearer {KEY}"}
    return requests.request(method, base + path, headers=headers, json=body, timeout=10).json()["data"]


def ids(case, path):
    """Of what is there now."""
    return [thing["id"] for thing in call(case, "GET", path)]


def key_name(case):
    """The name of a key that is there. Other requests delete them."""
    names = [key["name"] for key in call(case, "GET", "/api/v1/ssh-keys")]
    return names[0] if names else call(case, "POST", "/api/v1/ssh-keys", {"name": "there"})["name"]


@schemathesis.check
def valid_data_acceptance(context, response, case):
    """What is valid is never called invalid. It may be refused for another reason: a name that is taken,
    a quota, something that is not there."""
    if not is_valid(case) or response.status_code != 400:
        return
    if case.method == "DELETE" and case.path == "/api/v1/ssh-keys/{id}":
        # The document has no 404 for it.
        return
    if case.path == "/api/v1/ssh-keys" and "of this name" in response.text:
        # Nor has it a code of its own for a name that is taken.
        return
    code = response.json()["error"]["code"]
    assert code != "global/invalid-parameters", f"a valid request was called invalid: {response.text}"


@schemathesis.check
def error_envelope(context, response, case):
    """Errors, also those that the document does not declare, have its envelope."""
    if response.status_code >= 400:
        error = response.json()["error"]
        assert isinstance(error["code"], str) and isinstance(error["message"], str), response.text
