#!/usr/bin/env bash
# `make demo-servers`: real etcd, Kafka and Elasticsearch, an entry in etcd, agent, transfer and console over a log that grows
# while you look, and over one file of yours (FILE=/path). Shows documents arrive, and a search. Ctrl-C stops everything.
#   FILE=     a file to collect as well
#   LISTEN=   another address of the console than 127.0.0.1:8688
#   SECONDS_TO_RUN=   ends by itself after so many seconds (default: at Ctrl-C)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/demo-servers
instance=demo
file=${FILE:-}
run_for=${SECONDS_TO_RUN:-0}

if [ -n "$file" ]; then
  [ -f "$file" ] && [ -r "$file" ] || { echo "demo: FILE=$file is not a readable file" >&2; exit 66; }
  file=$(realpath "$file")
fi
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "building logweir"
(cd "$root" && cargo build --locked)
# CARGO_TARGET_DIR and the like: cargo itself says where the program is.
program=$(cd "$root" && cargo metadata --locked --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)/debug/logweir

children=()
cleanup() {
  trap '' INT TERM
  say "stopping"
  local child
  for child in "${children[@]}"; do kill -TERM "$child" 2>/dev/null || true; done
  for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
  for server in elasticsearch kafka etcd; do "$here/$server.sh" stop $instance || true; done
  echo "logs and settings of this run: $work"
}

rm -rf "$work"; mkdir -p "$work/logs"
for server in etcd kafka elasticsearch; do "$here/$server.sh" wipe $instance; done
trap cleanup EXIT
trap 'exit 0' INT TERM

say "starting etcd, Kafka and Elasticsearch (the first time their jars are downloaded)"
# Tied to this script: should it be killed, the servers go with it.
mkfifo "$work/tie"; exec 9<> "$work/tie"
fact() { sed -n "s/^$2=//p" "$work/$1"; }
for server in etcd kafka elasticsearch; do
  TIED=1 setsid "$here/$server.sh" start $instance < "$work/tie" 9>&- > "$work/$server"
  sed "s/^/  $server /" "$work/$server"
done
etcd=$(fact etcd url); kafka=$(fact kafka address); elastic=$(fact elasticsearch url)
elastic_get() { curl -sS -m 10 -u "elastic:$(fact elasticsearch password)" "$elastic/$1"; }
count() { elastic_get "_cat/count/$1?h=count" 2>/dev/null | grep -xE '[0-9]+' || echo 0; }

escaped() { sed 's/[\\"]/\\&/g' <<< "$1"; }
entries="{\"path\":\"$(escaped "$work")/logs/*.log\",\"topic\":\"demo_live\"}"
[ -z "$file" ] || entries="$entries,{\"path\":\"$(escaped "$file")\",\"topic\":\"demo_file\"}"
key=/logweir/collect/all
say "what to collect stands in etcd, under $key"
echo "  [$entries]"
"$here/etcd.sh" ctl $instance put $key "[$entries]" > /dev/null
"$here/etcd.sh" ctl $instance put elasticsearch_config \
  "{\"api_key\":\"$("$here/elasticsearch.sh" api-key $instance)\",\"url_address\":[\"$elastic\"]}" > /dev/null

common="[etcd]
endpoints = [\"$etcd\"]
[metrics]
listen = \"\"
[kafka]
brokers = [\"$kafka\"]"
cat > "$work/agent.toml" <<TOML
[agent]
data_dir = "$work/agent-data"
$common
TOML
cat > "$work/transfer.toml" <<TOML
$common
[elasticsearch]
replicas = 0
TOML
cat > "$work/console.toml" <<TOML
[console]
listen = "${LISTEN:-127.0.0.1:8688}"
[etcd]
endpoints = ["$etcd"]
TOML

say "starting agent, transfer and console"
for name in agent transfer console; do
  # A session of its own, so that Ctrl-C reaches this script alone, which then stops all in order.
  setsid "$program" $name -c "$work/$name.toml" > "$work/$name.log" 2>&1 < /dev/null 9>&- &
  children+=($!)
  echo "  $name -c $work/$name.toml, log: $work/$name.log"
done

say "the console, and the code by which the first user is made"
for _ in $(seq 100); do
  grep -q /setup "$work/console.log" && break
  sleep 0.1
done
grep -hE '^logweir.s console|/setup' "$work/console.log" || true

live=$work/logs/access.log; : > "$live"; written=0
write_lines() {
  local i status
  for i in 1 2 3 4 5 6 7 8 9 10; do
    status=200; [ $((RANDOM % 20)) -ne 0 ] || status=404
    printf '10.0.%d.%d - - [%s] "GET /page/%d HTTP/1.1" %d %d\n' $((RANDOM % 256)) $((RANDOM % 256)) \
      "$(date +%d/%b/%Y:%H:%M:%S)" $((RANDOM % 100)) $status $((RANDOM))
  done >> "$live"
  written=$((written + 10))
}

say "a log is written, its documents arrive (Ctrl-C ends)"
[ -z "$file" ] || in_file=$(grep -cavE $'^\r?$' "$file" || true)
SECONDS=0; shown=0
while [ "$run_for" = 0 ] || [ $SECONDS -lt "$run_for" ]; do
  for child in "${children[@]}"; do
    kill -0 "$child" 2>/dev/null || { echo "demo: agent, transfer or console has ended:" >&2; tail -n 5 "$work"/{agent,transfer,console}.log >&2; exit 70; }
  done
  write_lines
  if [ $((written % 100)) = 0 ]; then
    elastic_get 'logweir-demo_*/_refresh' > /dev/null
    printf '  %4d s   live log: %d lines written, %d documents' $SECONDS $written "$(count 'logweir-demo_live-*')"
    [ -z "$file" ] || printf '   your file: %d lines, %d documents' "$in_file" "$(count 'logweir-demo_file-*')"
    echo
  fi
  if [ $shown = 0 ] && [ $written -ge 1000 ]; then
    shown=1
    say "a search: the newest three pages that weren't found"
    elastic_get 'logweir-demo_live-*/_search?q=message:404&size=3&sort=@timestamp:desc&pretty&filter_path=hits.total.value,hits.hits._source'
    echo; echo "  yourself: curl -u elastic:$(fact elasticsearch password) '$elastic/logweir-*/_search?q=message:404&pretty'"
  fi
  sleep 0.2
done
