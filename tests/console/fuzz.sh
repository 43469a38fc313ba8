#!/usr/bin/env bash
# Requests that are made up from the API's own description, right and wrong ones, sent to ADDRESS (host:port); every answer
# has to be one that the description names. Schemathesis stands in a folder of its own under target/.
#   fuzz.sh ADDRESS [HEADER...]      EXAMPLES (15): so many requests a call   SEED (1): which
set -euo pipefail
address=$1; shift
venv=$("$(dirname "$0")/pypi.sh" schemathesis 4.32.5)

headers=(-H 'X-Logweir: 1')
for header in "$@"; do headers+=(-H "$header"); done
# Where it leaves what it remembers.
cd "$venv"
# The live tail never ends. What a description can't say: which texts are queries, times, paths or entries, so that a text
# that fits it may be refused; and that without users everybody on this machine is the admin.
exec "$venv/bin/schemathesis" run "http://$address/api/v1/openapi.json" "${headers[@]}" --seed "${SEED:-1}" \
  --max-examples "${EXAMPLES:-15}" --phases examples,coverage,fuzzing --continue-on-failure --no-color \
  --exclude-path-regex '/live$' --exclude-checks positive_data_acceptance,ignored_auth --warnings off --request-timeout 30
