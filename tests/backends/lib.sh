# Shared by kafka.sh, elasticsearch.sh and etcd.sh: one real server is one *instance* with its own ports, data, log and
# pid under target/backends/<instance>/<server>/, so that several test runs live side by side on one machine.
#
# The caller sets SERVER (kafka, ...) and calls `setup INSTANCE`. Environment that holds for all three:
#   LOGWEIR_BACKENDS  where state and jars go (default: target/backends of this checkout)
#   TIED=1            the server is killed when this script's standard input is closed: a test process keeps the other
#                     end of a pipe, so even SIGKILL of the tests leaves no server behind
#   JAVA_HOME, JAVA_OPTS
# shellcheck shell=bash
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BACKENDS=${LOGWEIR_BACKENDS:-$HERE/../../target/backends}
mkdir -p "$BACKENDS"
BACKENDS=$(cd "$BACKENDS" && pwd)
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}

fail() { echo "$SERVER: $*" >&2; exit 1; }

# A readable end: which server, why, where to read on, and the last lines of it.
fail_with_log() {
  echo "$SERVER ($INSTANCE): $1; its log is $LOG" >&2
  [ -f "$LOG" ] && tail -n 25 "$LOG" | sed 's/^/    /' >&2
  exit 1
}

need() {
  for tool in "$@"; do
    command -v "$tool" >/dev/null || fail "$tool is not installed; 'make deps' installs what is missing"
  done
}

need_java() {
  need "${JAVA}java"
  local v; v=$("${JAVA}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${v:-0}" -ge 17 ] || fail "needs Java 17 or newer, found ${v:-none}; set JAVA_HOME or run 'make deps'"
}

setup() {
  INSTANCE=$1
  case $INSTANCE in ''|*[!A-Za-z0-9._-]*|.*|lib-*) fail "not a usable instance name: '$INSTANCE'" ;; esac
  DIR=$BACKENDS/$INSTANCE/$SERVER; LOG=$DIR/$SERVER.log
  mkdir -p "$DIR"
}

# ---- installing: once for all instances and all parallel callers ----------------------------------------------------

# install_once FILE... : LIB becomes the folder of jars built from exactly these recipe files; calls build_lib if needed.
install_once() {
  local sum; sum=$(cat "$@" | sha256sum | cut -c1-12)
  LIB=$BACKENDS/lib-$SERVER-$sum
  [ -f "$LIB/installed" ] && return
  need flock mvn; need_java
  (
    flock 9
    [ -f "$LIB/installed" ] && exit 0
    echo "$SERVER: installing into $LIB" >&2
    rm -rf "$LIB.part" && mkdir -p "$LIB.part"
    build_lib "$LIB.part"
    rm -rf "$LIB" && mv "$LIB.part" "$LIB" && touch "$LIB/installed"
  ) 9>"$BACKENDS/.lock-$SERVER" || fail "could not be installed (see above)"
}

# download POM FOLDER: the jars of a pom, tried again because a repository that hiccups is no reason to fail a test run.
download() {
  local try
  for try in 1 2 3 4; do
    timeout 600 mvn -q -B -Dstyle.color=never -f "$1" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$2" 9>&- 1>&2 && return
    echo "$SERVER: download failed (try $try of 4)" >&2
    sleep $((try * 3))
  done
  return 1
}

# ---- ports ----------------------------------------------------------------------------------------------------------

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# take_ports WANTED...: sets PORTS. 0 or nothing = a free one below the ephemeral range. An instance keeps its ports for
# life, so that a restart answers where it did before. The claim is made under a lock, and ports claimed by other
# instances count as taken even while their servers are down.
take_ports() {
  if [ -s "$DIR/ports" ]; then read -r -a PORTS < "$DIR/ports"; return; fi
  need flock
  local lock=$BACKENDS/.lock-ports
  exec 8>"$lock"; flock 8
  local wanted port tries; PORTS=()
  for wanted in "$@"; do
    port=${wanted:-0}; tries=0
    while [ "$port" = 0 ]; do
      tries=$((tries + 1)); [ $tries -le 1000 ] || fail "found no free port"
      port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
      if port_open "$port" || [[ " ${PORTS[*]-} " == *" $port "* ]] || cat "$BACKENDS"/*/*/ports 2>/dev/null | grep -qw "$port"; then port=0; fi
    done
    PORTS+=("$port")
  done
  echo "${PORTS[*]}" > "$DIR/ports"
  exec 8>&-
}

# ---- processes ------------------------------------------------------------------------------------------------------

# The start time in clock ticks tells a process from a later one with the same pid. A zombie counts as gone when its first
# thread is all that is left: until then the others may hold its ports.
start_time() {
  local stat rest tasks
  read -r stat 2>/dev/null < "/proc/$1/stat" || return 0
  rest=${stat##*) }
  if [[ $rest == [ZX]* ]]; then
    tasks=("/proc/$1/task"/*)
    [ ${#tasks[@]} -gt 1 ] || return 0
  fi
  awk '{print $20}' <<< "$rest"
}

# running: is the process of the pid file alive? Sets PID.
running() {
  local begun
  [ -s "$DIR/pid" ] || return 1
  read -r PID begun < "$DIR/pid"
  [ -n "$begun" ] && [ "$(start_time "$PID")" = "$begun" ]
}

# launch COMMAND...: in a session of its own (no Ctrl-C of the caller's terminal), output to the log, pid file written.
launch() {
  running && fail "instance '$INSTANCE' runs already (pid $PID)"
  for p in "${PORTS[@]}"; do port_open "$p" && fail "port $p is in use by another program (ports of instance '$INSTANCE': $DIR/ports)"; done
  exec 7<&0
  setsid "$@" >> "$LOG" 2>&1 < /dev/null 7<&- &
  PID=$!
  local begun; begun=$(start_time "$PID")
  [ -n "$begun" ] || fail_with_log "ended at once"
  echo "$PID $begun" > "$DIR/pid"
  if [ "${TIED:-}" = 1 ]; then
    setsid bash -c 'cat > /dev/null
      now=$(sed "s/.*) //" "/proc/$1/stat" 2>/dev/null | awk "{print \$20}")
      [ "$now" = "$2" ] && kill -KILL "$1"' tied "$PID" "$begun" <&7 > /dev/null 2>&1 &
  fi
  exec 7<&-
}

# await_ready SECONDS COMMAND...: until the command succeeds, or the process ends, or time is over.
await_ready() {
  local end=$((SECONDS + $1)); shift
  while ! "$@"; do
    running || { rm -f "$DIR/pid"; fail_with_log "did not start"; }
    if [ $SECONDS -ge $end ]; then end_server KILL; fail_with_log "did not answer in time"; fi
    sleep 0.1
  done
}

# end_server SIGNAL: returns when the process is gone; after 30 s by SIGKILL.
end_server() {
  if running; then
    kill "-$1" "$PID" 2>/dev/null || true
    local end=$((SECONDS + 30))
    while running; do
      if [ $SECONDS -ge $end ]; then kill -KILL "$PID" 2>/dev/null || true; end=$((SECONDS + 30)); fi
      sleep 0.05
    done
  fi
  rm -f "$DIR/pid"
}

# certificates: $DIR/certs/{ca,server}.{crt,key} for localhost and 127.0.0.1.
certificates() {
  CERTS=$DIR/certs
  [ -f "$CERTS/server.crt" ] && return
  need openssl; mkdir -p "$CERTS"
  (
    cd "$CERTS"
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=logweir test authority' -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out server.new \
      -extfile <(echo 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    mv server.new server.crt
  ) 2> "$CERTS/openssl.log" || fail "no certificates could be made, see $CERTS/openssl.log"
}

# The commands that all three have in common; `start_server` and `report` are the caller's.
command_line() {
  local command=${1:-help}
  setup "${2:-dev}"
  case $command in
    start) start_server; report ;;
    stop) end_server TERM ;;
    kill) end_server KILL ;;
    restart) end_server TERM; start_server; report ;;
    wipe) end_server TERM; rm -rf "$DIR" ;;
    status) if running; then echo "$SERVER $INSTANCE pid $PID ports $(cat "$DIR/ports")"; else echo "$SERVER $INSTANCE not running"; return 3; fi ;;
    *) return 64 ;;
  esac
}
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 64; }
