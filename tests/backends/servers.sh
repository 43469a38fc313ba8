#!/usr/bin/env bash
# All three real servers of one instance at once (what `make servers-up` and `make servers-down` call).
#   servers.sh up [INSTANCE]     starts what is not running yet and prints where it answers
#   servers.sh down              stops every instance of this checkout, also those that an aborted test run left
#   servers.sh status            what runs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
backends=${LOGWEIR_BACKENDS:-$here/../../target/backends}

up() {
  local instance=${1:-dev} server
  for server in etcd kafka elasticsearch; do
    echo "$server"
    "$here/$server.sh" status "$instance" > /dev/null || "$here/$server.sh" start "$instance" > "$backends/.up-$server"
    if [ -s "$backends/.up-$server" ]; then cp "$backends/.up-$server" "$backends/$instance/$server/address"; rm "$backends/.up-$server"; fi
    sed 's/^/  /' "$backends/$instance/$server/address"
  done
}

each() {
  local pid server instance
  for pid in "$backends"/*/*/pid; do
    [ -f "$pid" ] || continue
    server=$(basename "$(dirname "$pid")"); instance=$(basename "$(dirname "$(dirname "$pid")")")
    "$here/$server.sh" "$1" "$instance" || true
  done
}

case ${1:-} in
  up) mkdir -p "$backends"; shift; up "$@" ;;
  down) each stop ;;
  status) each status ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 64 ;;
esac
