#!/usr/bin/env bash
# Asks others' validators about our exchange formats.
#   validate-exchange.sh VENV stix FILE...   OASIS's stix2-validator and stix2
#   validate-exchange.sh VENV ocsf FILE...   py-ocsf-models
#   validate-exchange.sh VENV kql FILE...    Microsoft's parser of KQL (npm: @kusto/language-service-next)
#   validate-exchange.sh VENV nfdump FILE... nfdump's own parser of filters (Debian: nfdump)
# There is no parser of Splunk's SPL that could be asked. VENV is made at the first run, and VENV-npm
# beside it. Exit 77: could not be asked (no python, node or nfdump, no registry).
set -u
venv=$1 what=$2
shift 2
case $what in
nfdump)
    command -v nfdump >/dev/null || exit 77
    for file in "$@"; do
        said=$(nfdump -Z -f "$file" 2>&1) && [ -z "$said" ] || { echo "$file: $said"; exit 1; }
    done
    # A parser that takes everything would be no judge.
    printf 'ip 192.0.2.1 orr ip 192.0.2.2\n' >"${1%/*}/broken.filter"
    nfdump -Z -f "${1%/*}/broken.filter" >/dev/null 2>&1 && { echo "nfdump takes a broken filter"; exit 1; }
    exit 0 ;;
kql)
    command -v node >/dev/null && command -v npm >/dev/null || exit 77
    exec 9>"$venv-npm.lock" || exit 77
    if command -v flock >/dev/null; then flock 9; fi
    if [ ! -e "$venv-npm/ready" ]; then
        mkdir -p "$venv-npm" || exit 77
        npm install --prefix "$venv-npm" --silent --no-audit --no-fund --ignore-scripts \
            @kusto/language-service-next@12.4.1 >&2 || exit 77
        touch "$venv-npm/ready"
    fi
    exec 9>&-
    node - "$venv-npm/node_modules/@kusto/language-service-next" "$@" <<'JS'
const fs = require('fs'), vm = require('vm'), path = require('path');
const [dir, ...files] = process.argv.slice(2);
for (const f of ['bridge.js', 'Kusto.Language.Bridge.js'])
  vm.runInThisContext(fs.readFileSync(path.join(dir, f), 'utf8'), { filename: f });
const faults = text => {
  const d = Kusto.Language.KustoCode.Parse(text).GetSyntaxDiagnostics(), out = [];
  for (let i = 0; i < d.Count; i++) out.push(d.getItem(i).Message);
  return out;
};
// A parser that takes everything would be no judge.
if (!faults('T | wher x = = 3 )').length) { console.log('the parser takes a broken query'); process.exit(1); }
let bad = 0;
for (const f of files) {
  // An editor runs what stands between blank lines.
  const queries = fs.readFileSync(f, 'utf8').split(/\n\s*\n/)
    .filter(q => q.split('\n').some(l => l.trim() && !l.startsWith('//')));
  if (!queries.length) { bad++; console.log(`${f}: no query in it`); }
  for (const q of queries) for (const m of faults(q)) { bad++; console.log(`${f}: ${m}\n${q}`); }
}
process.exit(bad ? 1 : 0);
JS
    exit ;;
esac
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
