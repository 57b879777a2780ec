# shellcheck shell=bash
# What every part uses: where things are, messages, locks, and the detached processes of one instance.

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck disable=SC2034 # CACHE is for the other parts
readonly CHECKOUT CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/sluice READY_SECONDS=120 STOP_SECONDS=60

# Data of MySQL, Redis and PostgreSQL lies in JAIL, as seen inside the cached root they share; else in STATE.
use_instance() {
  INSTANCE=$1
  STATE=$CHECKOUT/var/servers/$INSTANCE
  JAIL=/srv/$(printf '%s' "$STATE" | sha256sum | cut -c 1-12)
  readonly INSTANCE STATE JAIL
}

say() { printf '%-8s %s\n' "$1" "$2" >&2; }

fail() {
  printf '%-8s error: %s\n' "$1" "$2" >&2
  exit 1
}

# Takes the lock PATH until the calling (sub)shell and everything it started ends, servers apart, or until
# `unlock`. So what outlives a killed caller, say half an initialise, keeps the next one waiting until it is over.
lock() {
  local path=$1 waiting=${2:-}
  while true; do
    mkdir -p "$(dirname "$path")"
    exec {LOCK}>>"$path"
    if ! flock --nonblock "$LOCK"; then
      [[ -z $waiting ]] || say "$INSTANCE" "$waiting"
      flock "$LOCK"
    fi
    # `reset` deletes the file together with the instance: then the lock got is on nothing.
    [[ ! /proc/self/fd/$LOCK -ef $path ]] || return 0
    unlock
  done
}

unlock() { exec {LOCK}>&-; }

# What a process of ours has in its command line and no other process has: its directory.
mark() {
  case $1 in
    mysql | redis | postgres) echo "$JAIL/$1" ;;
    *) echo "$STATE/$1/" ;;
  esac
}

# Prints the pid of the process NAME where it lives; a number that another process got since does not count.
pid_of() {
  local pid arguments try
  [[ -s $STATE/$1.pid ]] && pid=$(<"$STATE/$1.pid") || return 1
  # A process that is just becoming another program shows no command line for an instant.
  for try in 0 0.02 0.02 0.02; do
    sleep "$try"
    mapfile -d '' arguments 2>/dev/null <"/proc/$pid/cmdline" || return 1
    ((${#arguments[@]} == 0)) || break
  done
  [[ "${arguments[*]}" == *"$(mark "$1")"* ]] && echo "$pid"
}

running() { pid_of "$1" >/dev/null; }

# Starts NAME in a session of its own, with no descriptor of the caller. It writes its own pid, so that
# there is no moment at which it runs and a killed caller has not noted it.
launch() {
  local name=$1 pid_file=$STATE/$1.pid deadline=$((SECONDS + READY_SECONDS))
  shift
  [[ ! -e $STATE/$name.log ]] || mv "$STATE/$name.log" "$STATE/$name.log.1"
  rm -f "$pid_file"
  # shellcheck disable=SC2016 # expanded by the shell that becomes the server
  setsid --fork bash -c '
    for fd in /proc/$$/fd/*; do
      fd=${fd##*/}
      ((fd < 3)) || eval "exec $fd>&-"
    done
    echo $$ >"$1.new" && mv "$1.new" "$1" && shift && cd / && exec "$@"
  ' launch "$pid_file" "$@" </dev/null >"$STATE/$name.log" 2>&1
  until [[ -s $pid_file ]]; do
    ((SECONDS < deadline)) || fail "$name" "cannot be started, see $STATE/$name.log"
    sleep 0.02
  done
}

# Waits until CHECK holds for the process NAME.
await() {
  local name=$1 deadline=$((SECONDS + READY_SECONDS))
  shift
  until "$@"; do
    running "$name" || fail "$name" "ended while starting, see $STATE/$name.log"
    ((SECONDS < deadline)) || fail "$name" "not ready after $READY_SECONDS s, see $STATE/$name.log"
    sleep 0.1
  done
}

# Sends SIGNAL to the process NAME and waits until that one is gone; SIGKILL is the last word. The pid file
# stays: an `up` may be writing the next one.
stop() {
  local name=$1 signal=$2 deadline=$((SECONDS + STOP_SECONDS)) pid
  pid=$(pid_of "$name") || return 0
  if [[ $signal == KILL ]]; then kill_family "$pid"; else end_gently "$pid" "$signal"; fi
  while [[ $(pid_of "$name") == "$pid" ]]; do
    if ((SECONDS >= deadline)); then
      say "$name" "did not stop within $STOP_SECONDS s: killed"
      kill_family "$pid"
      deadline=$((SECONDS + STOP_SECONDS))
    fi
    sleep 0.05
  done
}

# A process that a test has frozen takes the signal only when it goes on.
end_gently() {
  kill -s "$2" "$1" 2>/dev/null || true
  kill -s CONT "$1" 2>/dev/null || true
}

# PostgreSQL's children outlive it for a moment, and it does not start beside them.
kill_family() {
  local children=()
  read -r -a children 2>/dev/null <"/proc/$1/task/$1/children" || true
  kill -s KILL "$1" "${children[@]}" 2>/dev/null || true
}

# The checks speak over bash's own /dev/tcp: nothing has to be installed for them.
accepts() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Sends REQUEST to PORT and prints the first line of the answer.
ask() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf '%b' "$2" >&3
    IFS= read -r -t 5 line <&3
    printf '%s\n' "${line%$'\r'}"
  ) 2>/dev/null
}
