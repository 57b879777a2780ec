# shellcheck shell=bash
# What the wrappers in scripts/bin share: they run a client against the instance SLUICE_INSTANCE (dev).

for part in common cache ports docker; do
  # shellcheck source=/dev/null
  source "$(dirname "${BASH_SOURCE[0]}")/$part.sh"
done
use_instance "${SLUICE_INSTANCE:-dev}"
load_ports

needs() {
  [[ -e $1 ]] || fail "$INSTANCE" 'the client is not fetched yet: scripts/servers up'
}

# kafka_client SCRIPT CLASS ARGUMENT...: the broker is the instance's unless --bootstrap-server names one.
kafka_client() {
  local script=$1 class=$2
  shift 2
  [[ " $*" == *' --bootstrap-server'* ]] || set -- --bootstrap-server "localhost:${PORT[kafka-1]:-9092}" "$@"
  if uses_docker; then
    docker_client kafka "/opt/kafka/bin/$script.sh" "$@"
  else
    needs "$KAFKA_JARS"
    exec java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$KAFKA_JARS/*" "$class" "$@"
  fi
}
