#!/usr/bin/env bash
# A real Apache Kafka broker (KRaft, broker and controller in one process) on 127.0.0.1, from Maven Central jars.
#   kafka.sh install
#   kafka.sh start|stop|kill|restart|wipe|status [INSTANCE]      kill is SIGKILL; data stays until wipe
#   kafka.sh topics INSTANCE ARGS...                             kafka-topics of that instance
#   kafka.sh run INSTANCE CLASS ARGS...                          any of Kafka's own command-line classes
# start prints "address=HOST:PORT", "pid=", "log=". Environment (defaults):
#   PORT=0 (found)  KAFKA_HEAP=512m  KAFKA_PARTITIONS=4 (of topics that come into being by use)
#   KAFKA_PROTOCOL=PLAINTEXT (or SSL, SASL_PLAINTEXT, SASL_SSL: user logweir, password secret, CA in certs/ca.crt)
#   EXTRA='more lines of server.properties'  and what lib.sh names

SERVER=kafka
. "$(dirname "$0")/lib.sh"

build_lib() { download "$HERE/kafka/pom.xml" "$1"; }
install_kafka() { install_once "$HERE/kafka/pom.xml"; }
tool() { "${JAVA}java" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$LIB/*" "$@"; }

security_lines() {
  local protocol=${KAFKA_PROTOCOL:-PLAINTEXT}
  case $protocol in *SSL)
    certificates
    # Kafka takes a key and its certificate from one PEM file (PKCS#8, which is what openssl writes).
    cat "$CERTS/server.key" "$CERTS/server.crt" > "$CERTS/server.pem"
    printf '%s\n' ssl.keystore.type=PEM "ssl.keystore.location=$CERTS/server.pem" ssl.truststore.type=PEM "ssl.truststore.location=$CERTS/ca.crt" ;;
  esac
  case $protocol in SASL*)
    local jaas='org.apache.kafka.common.security.plain.PlainLoginModule required username="logweir" password="secret" user_logweir="secret";'
    printf '%s\n' sasl.enabled.mechanisms=PLAIN sasl.mechanism.inter.broker.protocol=PLAIN \
      "listener.name.$(tr '[:upper:]' '[:lower:]' <<< "$protocol").plain.sasl.jaas.config=$jaas" ;;
  esac
}

# Few threads and few internal partitions: it shares two cores with the tests. The short session lets a killed broker
# register again after 3 s instead of 9.
configure() {
  local protocol=${KAFKA_PROTOCOL:-PLAINTEXT}
  cat > "$DIR/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${PORTS[1]}
listeners=$protocol://127.0.0.1:${PORTS[0]},CONTROLLER://127.0.0.1:${PORTS[1]}
advertised.listeners=$protocol://127.0.0.1:${PORTS[0]}
inter.broker.listener.name=$protocol
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs=$DIR/data
num.partitions=${KAFKA_PARTITIONS:-4}
num.network.threads=2
num.io.threads=2
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
$(security_lines)
${EXTRA:-}
PROPERTIES
  [ -f "$DIR/data/meta.properties" ] && return
  local id; id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AA' | tr -d =)
  tool kafka.tools.StorageTool format -t "$id" -c "$DIR/server.properties" >> "$LOG" 2>&1 || fail_with_log "its data folder could not be formatted"
}

start_server() {
  install_kafka; need_java
  take_ports "${PORT:-0}" 0
  configure
  # shellcheck disable=SC2086
  launch "${JAVA}java" "-Xms${KAFKA_HEAP:-512m}" "-Xmx${KAFKA_HEAP:-512m}" -XX:+UseSerialGC ${JAVA_OPTS--XX:TieredStopAtLevel=1} \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true -cp "$LIB/*" kafka.Kafka "$DIR/server.properties"
  await_ready 120 port_open "${PORTS[0]}"
}

report() { printf '%s\n' "address=127.0.0.1:${PORTS[0]}" "pid=$PID" "log=$LOG"; }

case ${1:-} in
  install) install_kafka ;;
  topics|run)
    what=$1; setup "${2:-dev}"; shift 2; install_kafka; take_ports 0 0
    if [ "$what" = topics ]; then tool org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:${PORTS[0]}" "$@"; else tool "$@"; fi ;;
  start|stop|kill|restart|wipe|status) command_line "$@" ;;
  *) usage ;;
esac
