#!/usr/bin/env bash
# Asks others' validators about our exchange formats.
#   validate-exchange.sh VENV stix FILE...   OASIS's stix2-validator and stix2
#   validate-exchange.sh VENV ocsf FILE...   py-ocsf-models
# VENV is made at the first run. Exit 77: could not be asked (no python, no registry).
set -u
venv=$1 what=$2
shift 2
# Tests run side by side: one makes the venv, the others wait for it.
exec 9>"$venv.lock" || exit 77
if command -v flock >/dev/null; then flock 9; fi
if [ ! -e "$venv/ready" ]; then
    python3 -m venv "$venv" >/dev/null 2>&1 || exit 77
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        stix2-validator==3.3.2 stix2 py-ocsf-models==0.10.0 >&2 || exit 77
    touch "$venv/ready"
fi
exec 9>&-
case $what in
stix)
    # 103: the validator would like UUIDv4 everywhere; ours are UUIDv5, so that a report repeats byte for byte.
    # 301, 302: ports that no log has, and a hash of ATT&CK's page.
    "$venv/bin/stix2_validator" --version 2.1 --disable 103,301,302 "$@" || exit 1
    "$venv/bin/python" - "$@" <<'PY'
import sys, stix2
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        bundle = stix2.parse(file.read(), allow_custom=False)
    assert bundle.objects, name
PY
    ;;
ocsf)
    "$venv/bin/python" - "$@" <<'PY'
import json, sys
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    assert lines, name
    for line in lines:
        finding = DetectionFinding(**json.loads(line))
        assert finding.class_uid == 2004 and finding.finding_info.uid, name
PY
    ;;
*) exit 2 ;;
esac
