#!/usr/bin/env bash
# `make demo`: logweir standalone over a few live logs that this script writes (a web server, a service that logs JSON, one
# with levels) and this machine's own /var/log. Prints the address of the page. Ctrl-C stops everything.
#   FILE=     a file or folder of yours, to be collected as well
#   LISTEN=   another address than 127.0.0.1:8686
#   SECONDS_TO_RUN=   ends by itself after so many seconds (default: at Ctrl-C)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/target/demo
file=${FILE:-}
listen=${LISTEN:-127.0.0.1:8686}
run_for=${SECONDS_TO_RUN:-0}

if [ -n "$file" ]; then
  [ -r "$file" ] || { echo "demo: FILE=$file can't be read" >&2; exit 66; }
  file=$(realpath "$file")
fi
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "building logweir"
(cd "$root" && cargo build --locked)
# CARGO_TARGET_DIR and the like: cargo itself says where the program is.
program=$(cd "$root" && cargo metadata --locked --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)/debug/logweir

rm -rf "$work"; mkdir -p "$work/logs"
child=
cleanup() {
  trap '' INT TERM
  say "stopping"
  [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; }
  echo "logs and data of this run: $work"
}
trap cleanup EXIT
trap 'exit 0' INT TERM

pick() { local n=$((RANDOM % $#)); shift $n; printf '%s' "$1"; }
path() { pick /index.html /api/v1/items /api/v1/cart /login /static/app.js "/items/$((RANDOM % 500))"; }
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }

# The lines of one moment, a second's worth; some of them are what one looks for.
write_lines() {
  local i status at
  at=$(now)
  for i in 1 2 3 4 5; do
    status=$(pick 200 200 200 200 200 200 304 404 503)
    printf '10.0.%d.%d - - [%s] "GET %s HTTP/1.1" %d %d "-" "Mozilla/5.0 (X11; Linux x86_64)"\n' $((RANDOM % 4)) \
      $((RANDOM % 256)) "$(date +%d/%b/%Y:%H:%M:%S\ %z)" "$(path)" "$status" $((RANDOM))
  done >> "$work/logs/nginx-access.log"
  for i in 1 2; do
    printf '{"time":"%s","level":"%s","service":"cart","trace":"%04x%04x","msg":"%s","took_ms":%d}\n' "$at" \
      "$(pick info info info warn)" $RANDOM $RANDOM "$(pick 'item added' 'cart loaded' 'price changed' 'slow query')" \
      $((RANDOM % 900))
  done >> "$work/logs/cart.json.log"
  case $((RANDOM % 12)) in
    0) printf '%s ERROR [worker-%d] payment.Gateway: read timed out after 3000 ms, order %d\n' "$at" $((RANDOM % 4)) $RANDOM
       printf '    at payment.Gateway.read(Gateway.java:118)\n    at payment.Orders.settle(Orders.java:42)\n' ;;
    1) printf '%s WARN  [worker-%d] payment.Pool: %d of 16 connections left\n' "$at" $((RANDOM % 4)) $((RANDOM % 4)) ;;
    *) printf '%s INFO  [worker-%d] payment.Orders: order %d settled\n' "$at" $((RANDOM % 4)) $RANDOM ;;
  esac >> "$work/logs/payment.log"
}

for _ in 1 2 3 4 5; do write_lines; done
say "starting logweir standalone"
# A session of its own, so that Ctrl-C reaches this script alone, which then stops it in order.
setsid "$program" standalone --data-dir "$work/data" --listen "$listen" "$work/logs" /var/log ${file:+"$file"} \
  > "$work/logweir.log" 2>&1 < /dev/null &
child=$!
echo "  logweir standalone --data-dir $work/data $work/logs /var/log ${file}"
echo "  its own log: $work/logweir.log"

SECONDS=0; told=
while [ "$run_for" = 0 ] || [ $SECONDS -lt "$run_for" ]; do
  kill -0 "$child" 2>/dev/null || { echo "demo: logweir has ended:" >&2; tail -n 5 "$work/logweir.log" >&2; exit 70; }
  if [ -z "$told" ] && grep -q '^logweir shows your logs at' "$work/logweir.log"; then
    told=1
    say "$(grep -m1 '^logweir shows your logs at' "$work/logweir.log")   (Ctrl-C ends)"
  fi
  write_lines
  if [ -z "$told" ]; then sleep 0.1; else sleep 1; fi
done
