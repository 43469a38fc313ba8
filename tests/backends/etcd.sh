#!/usr/bin/env bash
# A real etcd on 127.0.0.1: the distribution's own program (Debian: etcd-server, etcd-client), never its system service.
#   etcd.sh install                                              says what is missing, installs nothing
#   etcd.sh start|stop|kill|restart|wipe|status [INSTANCE]       kill is SIGKILL; data stays until wipe
#   etcd.sh ctl INSTANCE ARGS...                                 etcdctl (v3) of that instance
# start prints "url=", "pid=", "log=". Environment (defaults):
#   PORT=0 (found)  ETCD_TLS=false (CA in certs/ca.crt)  EXTRA='more etcd flags'  and what lib.sh names

SERVER=etcd
. "$(dirname "$0")/lib.sh"

scheme() { if [ "${ETCD_TLS:-false}" = true ] || [ -f "$DIR/tls" ]; then echo https; else echo http; fi; }
url() { echo "$(scheme)://127.0.0.1:${PORTS[0]}"; }
ctl() {
  local tls=(); [ "$(scheme)" = https ] && tls=("--cacert=$DIR/certs/ca.crt")
  ETCDCTL_API=3 etcdctl --endpoints="$(url)" --dial-timeout=2s --command-timeout=5s "${tls[@]}" "$@"
}
answers() { ctl endpoint health > /dev/null 2>&1; }

start_server() {
  need etcd etcdctl
  take_ports "${PORT:-0}" 0
  local flags=()
  if [ "$(scheme)" = https ]; then
    certificates; touch "$DIR/tls"
    flags=("--cert-file=$CERTS/server.crt" "--key-file=$CERTS/server.key")
  fi
  # shellcheck disable=SC2086
  launch etcd --name logweir --data-dir "$DIR/data" --logger zap --log-level warn \
    --listen-client-urls "$(url)" --advertise-client-urls "$(url)" \
    --listen-peer-urls "http://127.0.0.1:${PORTS[1]}" --initial-advertise-peer-urls "http://127.0.0.1:${PORTS[1]}" \
    --initial-cluster "logweir=http://127.0.0.1:${PORTS[1]}" "${flags[@]}" ${EXTRA:-}
  await_ready 60 answers
}

report() { printf '%s\n' "url=$(url)" "pid=$PID" "log=$LOG"; }

case ${1:-} in
  install) need etcd etcdctl ;;
  ctl) setup "${2:-dev}"; shift 2; take_ports 0 0; ctl "$@" ;;
  start|stop|kill|restart|wipe|status) command_line "$@" ;;
  *) usage ;;
esac
