# shellcheck shell=bash
# Redis in the cached root: a cache, so nothing is written to disk.

redis_up() {
  fetch_root redis
  if ! running redis; then
    jail redis
    mkdir -p "$ROOT$JAIL/redis"
    # It keeps its arguments as its title: `running` recognises it by them.
    launch redis chroot "$ROOT" redis-server --port "${PORT[redis]}" --bind 127.0.0.1 --save '' --appendonly no \
      --set-proc-title no --dir "$JAIL/redis"
  fi
  await redis redis_ready
  say redis "$(redis_version) ready on 127.0.0.1:${PORT[redis]}"
}

redis_ready() { [[ $(ask "${PORT[redis]}" 'PING\r\n') == +PONG ]]; }

redis_fetch() { fetch_root redis; }
redis_processes() { echo redis; }
redis_ports() { echo redis; }
redis_version() { version_in_root redis; }
