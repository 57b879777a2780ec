# shellcheck shell=bash
# The same verbs by docker-compose.yml, where an engine answers. `kafka` is one node there.

readonly DOCKER_PASSWORD=${SLUICE_MYSQL_PASSWORD:-password}

uses_docker() {
  if [[ -z ${USES_DOCKER:-} ]]; then
    USES_DOCKER=no
    if [[ ${SLUICE_SERVERS:-} != native ]] && { docker info && docker compose version; } >/dev/null 2>&1; then
      USES_DOCKER=yes
    fi
  fi
  [[ $USES_DOCKER == yes ]]
}

compose() {
  SLUICE_MYSQL_PASSWORD=$DOCKER_PASSWORD SLUICE_MYSQL_PORT=${PORT[mysql]:-3306} SLUICE_REDIS_PORT=${PORT[redis]:-6379} \
    SLUICE_KAFKA_PORT=${PORT[kafka-1]:-9092} SLUICE_MONGODB_PORT=${PORT[mongodb]:-27017} \
    docker compose --project-name "sluice-$INSTANCE" --file "$CHECKOUT/docker-compose.yml" "$@"
}

docker_running() { [[ -n $(compose ps --quiet --status running "${1%-1}" 2>/dev/null) ]]; }

docker_up() {
  [[ ${KAFKA_NODES:-1} == 1 && " $* " != *' kafka-'* ]] ||
    fail kafka 'single nodes are addressed natively only: SLUICE_SERVERS=native'
  choose_ports "${@/%kafka/kafka-1}"
  compose up --detach --wait "$@" || fail "$INSTANCE" "docker compose up failed, see: docker compose -p sluice-$INSTANCE logs"
}

docker_down() { compose stop "$@"; }
docker_kill() { compose kill --signal SIGKILL "$@"; }
docker_status() { compose ps --all; }
docker_reset() { compose down --volumes --remove-orphans; }
docker_fetch() { compose pull "$@"; }

# Runs a client in the container of SERVICE.
docker_client() {
  local terminal=()
  [[ -t 0 && -t 1 ]] || terminal=(-T)
  compose exec "${terminal[@]}" "$@"
}
