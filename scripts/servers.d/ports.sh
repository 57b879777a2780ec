# shellcheck shell=bash
# Ports: chosen at an instance's first `up`, kept in its `ports` file (NAME=NUMBER), and never shared with
# another instance on this machine, running or not: the cache folder lists the directories of them all.

readonly REGISTRY=$CACHE/instances PORT_FIRST=20000 PORT_LAST=31000
declare -A PORT STANDARD=([mysql]=3306 [redis]=6379 [kafka-1]=9092 [mongodb]=27017)

load_ports() {
  local name number
  PORT=()
  [[ -e $STATE/ports ]] || return 0
  while IFS='=' read -r name number; do PORT[$name]=$number; done <"$STATE/ports"
}

# Chooses what is missing among the ports NAME..., under one lock for the whole machine: two instances set
# up at once must see each other's choice.
choose_ports() {
  local name
  lock "$CACHE/ports.lock"
  register_instance
  for name in "$@"; do
    [[ -z ${PORT[$name]:-} ]] || ours_or_free "$name" || replace_port "$name"
    [[ -n ${PORT[$name]:-} ]] || PORT[$name]=$(free_port "$name")
    save_ports
  done
  unlock
}

# A port whose process of ours does not run must be free.
ours_or_free() {
  local process=${1%-controller}
  process=${process%-debug}
  ! accepts "${PORT[$1]}" || if uses_docker; then docker_running "$process"; else running "$process"; fi
}

# Whoever points a tool at a private instance has been told its port; `dev` is asked with `env` each time.
replace_port() {
  [[ $INSTANCE == dev ]] || fail "$1" "port ${PORT[$1]} of instance $INSTANCE is taken by another process"
  say "$1" "port ${PORT[$1]} is taken by another process: choosing another"
  unset "PORT[$1]"
}

save_ports() {
  local name
  for name in "${!PORT[@]}"; do echo "$name=${PORT[$name]}"; done | sort >"$STATE/ports.new"
  mv "$STATE/ports.new" "$STATE/ports"
}

register_instance() {
  local directory
  {
    echo "$STATE"
    [[ ! -e $REGISTRY ]] || while read -r directory; do
      [[ $directory == "$STATE" || ! -d $directory ]] || echo "$directory"
    done <"$REGISTRY"
  } >"$REGISTRY.new"
  mv "$REGISTRY.new" "$REGISTRY"
}

# Prints the next port for NAME that nobody listens on and no instance has chosen, this one included.
free_port() {
  local port=$((PORT_FIRST + RANDOM % (PORT_LAST - PORT_FIRST))) last=$PORT_LAST taken directory
  if [[ $INSTANCE == dev && -n ${STANDARD[$1]:-} ]]; then
    port=${STANDARD[$1]} last=$((port + 1000))
  fi
  taken=" ${PORT[*]} "
  while read -r directory; do
    [[ $directory == "$STATE" ]] || taken+="$(sed 's/.*=//' "$directory/ports" 2>/dev/null | tr '\n' ' ')"
  done <"$REGISTRY"
  while [[ $taken == *" $port "* ]] || accepts "$port"; do
    port=$((port + 1))
    ((port <= last)) || fail "$1" "no free port up to $last"
  done
  echo "$port"
}
