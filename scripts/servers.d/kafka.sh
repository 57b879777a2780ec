# shellcheck shell=bash
# Kafka in KRaft mode, each node broker and controller: one node, or three for leader changes.

# KAFKA_NODES is what --kafka-nodes asked for; what an instance was made with is kept in its directory,
# since the voters of a formatted cluster do not change.
kafka_nodes() {
  if [[ -e $STATE/kafka-nodes ]]; then cat "$STATE/kafka-nodes"; else echo "${KAFKA_NODES:-1}"; fi
}

kafka_keep_nodes() {
  local nodes name
  nodes=$(kafka_nodes)
  [[ ${KAFKA_NODES:-$nodes} == "$nodes" ]] ||
    fail kafka "instance $INSTANCE has $nodes Kafka node(s): reset it first, or take another --instance"
  for name in "$@"; do
    [[ $name != kafka-* ]] || ((${name#kafka-} <= nodes)) || fail "$name" "instance $INSTANCE has $nodes Kafka node(s)"
  done
  echo "$nodes" | kafka_write kafka-nodes
}

kafka_up() {
  local name names=("$@") cluster
  fetch_kafka
  cluster=$(kafka_cluster)
  for name in "${names[@]}"; do
    if ! running "$name"; then
      kafka_properties "${name#kafka-}" "$STATE/$name/data" | kafka_write "$name/server.properties"
      kafka_log4j | kafka_write "$name/log4j2.properties"
      kafka_format "$name" "$cluster"
      # shellcheck disable=SC2046 # two words
      launch "$name" java $(kafka_heap) -Dlog4j2.configurationFile="$STATE/$name/log4j2.properties" \
        -cp "$KAFKA_JARS/*" kafka.Kafka "$STATE/$name/server.properties"
    fi
  done
  for name in "${names[@]}"; do
    await "$name" kafka_ready "$name"
    say "$name" "$KAFKA_VERSION ready on 127.0.0.1:${PORT[$name]}"
  done
}

kafka_write() {
  mkdir -p "$(dirname "$STATE/$1")"
  cat >"$STATE/$1.new"
  mv "$STATE/$1.new" "$STATE/$1"
}

kafka_heap() {
  if (($(kafka_nodes) == 1)); then echo '-Xms256m -Xmx512m'; else echo '-Xms128m -Xmx384m'; fi
}

# Prints the cluster's id, the same for all nodes: 16 random bytes in Kafka's spelling (no leading dash).
kafka_cluster() {
  if [[ ! -s $STATE/kafka-cluster ]]; then
    echo "K$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-21)A" | kafka_write kafka-cluster
  fi
  cat "$STATE/kafka-cluster"
}

kafka_format() {
  local directory=$STATE/$1
  [[ ! -d $directory/data ]] || return 0
  rm -rf "$directory/data.new"
  kafka_properties "${1#kafka-}" "$directory/data.new" | kafka_write "$1/format.properties"
  java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile="$directory/log4j2.properties" \
    -cp "$KAFKA_JARS/*" kafka.tools.StorageTool format -t "$2" -c "$directory/format.properties" \
    >"$directory/format.log" 2>&1 </dev/null || fail "$1" "formatting failed, see $directory/format.log"
  mv -T "$directory/data.new" "$directory/data"
}

# kafka_properties NODE DATA. After kill -9 a node waits until its former session has expired: the default
# of 9 s would make each crash test that much longer.
# SLUICE_KAFKA_PROXIED=PORT:ADVERTISED lets the first node listen on PORT as well, for who is to reach it through a
# proxy: its clients are told to find the node at ADVERTISED.
# SLUICE_KAFKA_AUTHORIZES=1 makes it obey access control lists; what has none is everyone's.
kafka_properties() {
  local nodes node voters='' replicas=1 in_sync=1 listener='' advertised=''
  nodes=$(kafka_nodes)
  for ((node = 1; node <= nodes; node++)); do
    voters+=${voters:+,}$node@127.0.0.1:${PORT[kafka-$node-controller]}
  done
  ((nodes == 1)) || { replicas=3 && in_sync=2; }
  if [[ -n ${SLUICE_KAFKA_PROXIED:-} && $1 == 1 ]]; then
    listener=,PROXIED://127.0.0.1:${SLUICE_KAFKA_PROXIED%:*}
    advertised=,PROXIED://127.0.0.1:${SLUICE_KAFKA_PROXIED#*:}
  fi
  cat <<END
process.roles=broker,controller
node.id=$1
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:${PORT[kafka-$1]},CONTROLLER://127.0.0.1:${PORT[kafka-$1-controller]}$listener
advertised.listeners=PLAINTEXT://127.0.0.1:${PORT[kafka-$1]}$advertised
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$2
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.num.partitions=1
offsets.topic.replication.factor=$replicas
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
END
  [[ -z ${SLUICE_KAFKA_AUTHORIZES:-} ]] || cat <<'END'
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
END
}

kafka_log4j() {
  cat <<'END'
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
END
}

kafka_ready() {
  accepts "${PORT[$1]}" && grep -q -m 1 -F 'Kafka Server started' "$STATE/$1.log"
}

kafka_fetch() { fetch_kafka; }

kafka_processes() {
  local node
  for ((node = 1; node <= $(kafka_nodes); node++)); do echo "kafka-$node"; done
}

kafka_ports() {
  local name
  for name in $(kafka_processes); do echo "$name" "$name-controller"; done
}

kafka_version() { echo "$KAFKA_VERSION"; }
