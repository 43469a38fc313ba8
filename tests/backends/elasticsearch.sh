#!/usr/bin/env bash
# A real Elasticsearch 8.19 node with X-Pack security on 127.0.0.1, from Maven Central jars.
#   elasticsearch.sh install
#   elasticsearch.sh start|stop|kill|restart|wipe|status [INSTANCE]   kill is SIGKILL; data stays until wipe
#   elasticsearch.sh curl INSTANCE PATH [CURL-ARGS...]                as user elastic
#   elasticsearch.sh api-key INSTANCE                                 makes an API key (base64, as the header takes it)
# start prints "url=", "user=", "password=", "ca=" (with TLS), "pid=", "log=". Environment (defaults):
#   PORT=0 (found)  ES_HEAP=1g  ES_PASSWORD=changeme  ES_SECURITY=true  ES_TLS=false
#   EXTRA='more lines of elasticsearch.yml', for instance 'indexing_pressure.memory.limit: 64kb' (429 for whole requests)
#   and what lib.sh names
#
# The jars are the real ones. What Elastic doesn't publish to Maven Central is replaced in src/StandIns.java: GET /,
# data stream and lifecycle policy requests, three analysis components. Absent: ingest pipelines, painless, _reindex,
# _delete_by_query, the field types match_only_text, wildcard and constant_keyword.

SERVER=elasticsearch
. "$(dirname "$0")/lib.sh"

build_lib() {
  need unzip "${JAVA}javac" "${JAVA}jar"
  local to=$1 module jar version type
  mkdir -p "$to/jars" "$to/classes" "$to/modules" "$to/work"
  download "$HERE/elasticsearch/pom.xml" "$to/jars"
  # A module is its jar and the descriptor that stands inside it.
  for module in transport-netty4 x-pack-core x-pack-security; do
    mkdir -p "$to/modules/$module"; mv "$to/jars/$module"-[0-9]*.jar "$to/modules/$module/"
    jar=$(echo "$to/modules/$module/"*.jar)
    unzip -p "$jar" "META-INF/es-plugins/$module/plugin-descriptor.properties" | grep -v '^modulename=' > "$to/modules/$module/plugin-descriptor.properties"
  done
  cp "$to/modules/transport-netty4/"*.jar "$to/modules/x-pack-security/"
  version=$(sed -n 's/^version=//p' "$to/modules/x-pack-core/plugin-descriptor.properties")
  # SAML's own library is not on Maven Central; x-pack-security only needs these types to exist.
  for type in core/xml/XMLObject saml/saml2/core/StatusResponseType saml/saml2/core/RequestAbstractType; do
    mkdir -p "$to/work/org/opensaml/${type%/*}"
    echo "package org.opensaml.$(tr / . <<< "${type%/*}"); public interface ${type##*/} {}" > "$to/work/org/opensaml/$type.java"
  done
  find "$to/work" -name '*.java' > "$to/work/sources"
  "${JAVA}javac" -nowarn --release 17 -cp "$to/jars/*" -d "$to/classes" "$HERE/elasticsearch/src/Node.java" "@$to/work/sources"
  mkdir -p "$to/work/standins" "$to/modules/standins"
  "${JAVA}javac" -nowarn --release 17 -cp "$to/jars/*:$to/modules/x-pack-core/*" -d "$to/work/standins" "$HERE/elasticsearch/src/StandIns.java"
  "${JAVA}jar" cf "$to/modules/standins/standins.jar" -C "$to/work/standins" .
  printf '%s\n' name=standins 'description=replaces modules that are not published' "version=$version" "elasticsearch.version=$version" \
    java.version=17 classname=StandIns extended.plugins=x-pack-core > "$to/modules/standins/plugin-descriptor.properties"
  rm -rf "$to/work"
}
install_elasticsearch() { install_once "$HERE/elasticsearch/pom.xml" "$HERE"/elasticsearch/src/*.java "$HERE/elasticsearch.sh"; }

# Security, TLS and password are kept in $DIR/options from the first start on, so that later commands agree with it.
options() {
  if [ -f "$DIR/options" ]; then
    . "$DIR/options"
  else
    security=${ES_SECURITY:-true} tls=${ES_TLS:-false} password=${ES_PASSWORD:-changeme}
    printf '%s=%q\n' security "$security" tls "$tls" password "$password" > "$DIR/options"
  fi
  if [ "$tls" = true ]; then scheme=https; else scheme=http; fi
}
url() { echo "$scheme://127.0.0.1:${PORTS[0]}"; }
request() {
  local path=$1 flags=(-sS -m 30); shift
  [ "$security" = true ] && flags+=(-u "elastic:$password")
  [ "$tls" = true ] && flags+=(--cacert "$DIR/certs/ca.crt")
  curl "${flags[@]}" "$(url)/${path#/}" "$@"
}
# The node makes its security index by itself at the first sign-in; before that is there, requests can get a 503.
answers() {
  local index=; [ "$security" = true ] && index=/.security-7
  request "_cluster/health$index?wait_for_status=yellow&timeout=4s" -f -m 5 > /dev/null 2>&1
}

configure() {
  mkdir -p "$DIR/config" "$DIR/tmp" "$DIR/natives"
  cat > "$DIR/config/elasticsearch.yml" <<YML
cluster.name: logweir
node.name: logweir
discovery.type: single-node
network.host: 127.0.0.1
http.port: ${PORTS[0]}
transport.port: ${PORTS[1]}
path.data: $DIR/data
path.logs: $DIR/logs
node.processors: 2
cluster.routing.allocation.disk.threshold_enabled: false
indices.breaker.total.use_real_memory: false
xpack.security.enabled: $security
xpack.security.http.ssl.enabled: $tls
xpack.security.transport.ssl.enabled: false
${EXTRA:-}
YML
  if [ "$tls" = true ]; then
    certificates; cp "$CERTS/"server.{crt,key} "$DIR/config/"
    printf '%s\n' 'xpack.security.http.ssl.key: server.key' 'xpack.security.http.ssl.certificate: server.crt' >> "$DIR/config/elasticsearch.yml"
  fi
  cat > "$DIR/config/log4j2.properties" <<'LOG4J'
status = error
appender.c.type = Console
appender.c.name = c
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.c.ref = c
LOG4J
  # Only the codec best_compression asks for it.
  local zstd; zstd=$( (ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null || true) | awk '/libzstd\.so\.1 /{print $NF; exit}')
  [ -z "$zstd" ] || ln -sf "$zstd" "$DIR/natives/libzstd.so"
}

start_server() {
  install_elasticsearch; need_java; need curl
  take_ports "${PORT:-0}" 0
  options; configure
  local native=()
  "${JAVA}java" --enable-native-access=ALL-UNNAMED -version > /dev/null 2>&1 && native=(--enable-native-access=ALL-UNNAMED)
  export ELASTIC_PASSWORD=$password
  # shellcheck disable=SC2086
  launch "${JAVA}java" "-Xms${ES_HEAP:-1g}" "-Xmx${ES_HEAP:-1g}" -XX:+UseSerialGC ${JAVA_OPTS--XX:TieredStopAtLevel=1} \
    --add-opens java.base/java.io=ALL-UNNAMED "${native[@]}" "-Djava.io.tmpdir=$DIR/tmp" "-Des.nativelibs.path=$DIR/natives" \
    -Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false -Dlog4j2.disable.jmx=true -Des.distribution.type=tar \
    -cp "$LIB/classes:$LIB/jars/*" Node "$LIB" "$DIR/config"
  await_ready 240 answers
}

report() {
  printf '%s\n' "url=$(url)"
  [ "$security" = true ] && printf '%s\n' user=elastic "password=$password"
  [ "$tls" = true ] && echo "ca=$DIR/certs/ca.crt"
  printf '%s\n' "pid=$PID" "log=$LOG"
}

case ${1:-} in
  install) install_elasticsearch ;;
  curl) setup "${2:-dev}"; shift 2; take_ports 0 0; options; request "$@" ;;
  api-key)
    setup "${2:-dev}"; take_ports 0 0; options
    request _security/api_key -f -H 'content-type: application/json' -d '{"name":"logweir"}' | grep -o '"encoded":"[^"]*"' | cut -d\" -f4 ;;
  start|stop|kill|restart|wipe|status) command_line "$@" ;;
  *) usage ;;
esac
