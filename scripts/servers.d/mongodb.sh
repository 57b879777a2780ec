# shellcheck shell=bash
# MongoDB: a mongod where there is one, otherwise FerretDB on a PostgreSQL with DocumentDB in the cached root.

readonly IN_POSTGRES=(chroot --userspec=postgres:postgres "$ROOT" env -i
  PATH=/usr/lib/postgresql/18/bin:/usr/bin:/bin LC_ALL=C.UTF-8)

# Prints the mongod to use; fails where there is none.
mongod_binary() {
  local path
  path=$(command -v "${SLUICE_MONGOD:-mongod}") && realpath "$path"
}

# An instance stays with what it was made with: its documents are there.
uses_mongod() {
  [[ -d $STATE/mongodb/mongod ]] || { [[ ! -d $STATE/mongodb/ferretdb ]] && mongod_binary >/dev/null; }
}

mongodb_up() {
  [[ -z ${SLUICE_MONGOD:-} ]] || mongod_binary >/dev/null || fail mongodb "SLUICE_MONGOD is no program: $SLUICE_MONGOD"
  if uses_mongod; then mongod_up; else ferretdb_up; fi
  say mongodb "$(mongodb_version) ready on 127.0.0.1:${PORT[mongodb]}"
}

mongodb_fetch() {
  ! uses_mongod || return 0
  fetch_ferretdb
  fetch_root mongodb
}

mongod_up() {
  local binary
  if ! running mongodb; then
    binary=$(mongod_binary) || fail mongodb "instance $INSTANCE was made with a mongod: SLUICE_MONGOD names none"
    mkdir -p "$STATE/mongodb/mongod"
    launch mongodb "$binary" --dbpath "$STATE/mongodb/mongod" --bind_ip 127.0.0.1 --port "${PORT[mongodb]}"
  fi
  await mongodb mongod_ready
}

mongod_ready() {
  accepts "${PORT[mongodb]}" && grep -q -m 1 -F 'Waiting for connections' "$STATE/mongodb.log"
}

ferretdb_up() {
  mongodb_fetch
  postgres_up
  if ! running mongodb; then
    mkdir -p "$STATE/mongodb/ferretdb"
    launch mongodb "$FERRETDB/ferretdb" --telemetry=disable --no-auth --log-level=warn --state-dir="$STATE/mongodb/ferretdb" \
      --listen-addr="127.0.0.1:${PORT[mongodb]}" --debug-addr="127.0.0.1:${PORT[mongodb-debug]}" \
      --postgresql-url="postgres://postgres@127.0.0.1:${PORT[postgres]}/postgres"
  fi
  await mongodb ferretdb_ready
}

ferretdb_ready() {
  [[ $(ask "${PORT[mongodb-debug]}" 'GET /debug/readyz HTTP/1.0\r\n\r\n') == *' 200 '* ]]
}

postgres_up() {
  if ! running postgres; then
    postgres_initialise
    postgres_forget_reused_pid
    # Nothing but FerretDB talks to it; pg_cron, which expires documents, does so over loopback as well.
    launch postgres "${IN_POSTGRES[@]}" postgres -D "$JAIL/postgres" -p "${PORT[postgres]}" \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 -c jit=off \
      -c shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb \
      -c cron.database_name=postgres -c cron.host=127.0.0.1 -c cron.log_run=off \
      -c cron.log_statement=off -c documentdb.enableUserCrud=true
  fi
  await postgres postgres_ready
  postgres_sql 'CREATE EXTENSION IF NOT EXISTS documentdb CASCADE' >"$STATE/postgres-extension.log" 2>&1 ||
    fail postgres "the extension was refused, see $STATE/postgres-extension.log"
}

postgres_initialise() {
  jail postgres
  [[ ! -d $ROOT$JAIL/postgres ]] || return 0
  say mongodb 'initialising PostgreSQL (1 s) ...'
  rm -rf "$ROOT$JAIL/postgres.new"
  {
    chroot "$ROOT" install -d -o postgres -g postgres -m 700 "$JAIL/postgres.new" &&
      "${IN_POSTGRES[@]}" initdb -D "$JAIL/postgres.new" -U postgres --no-sync -A trust --locale=C.UTF-8
  } >"$STATE/postgres-initialise.log" 2>&1 </dev/null ||
    fail mongodb "initialising failed, see $STATE/postgres-initialise.log"
  mv -T "$ROOT$JAIL/postgres.new" "$ROOT$JAIL/postgres"
}

# PostgreSQL refuses to start while the pid in its lock file lives, whoever has that number by now.
postgres_forget_reused_pid() {
  local file=$ROOT$JAIL/postgres/postmaster.pid pid
  [[ -e $file ]] && read -r pid <"$file" || return 0
  [[ ! -e /proc/$pid ]] || [[ $(tr '\0' ' ' <"/proc/$pid/cmdline") == *postgres* ]] || rm -f "$file"
}

postgres_ready() { postgres_sql 'SELECT 1' >/dev/null 2>&1; }

postgres_sql() {
  "${IN_POSTGRES[@]}" psql --no-psqlrc --quiet -h 127.0.0.1 -p "${PORT[postgres]}" -U postgres -d postgres \
    -c "$1" </dev/null
}

mongodb_processes() {
  echo mongodb
  uses_mongod || echo postgres
}

mongodb_ports() {
  echo mongodb
  uses_mongod || echo mongodb-debug postgres
}

mongodb_version() {
  if uses_mongod; then
    "$(mongod_binary)" --version 2>/dev/null | sed -n 's/^db version v/mongod /p'
  else
    echo "FerretDB $FERRETDB_VERSION"
  fi
}

postgres_version() { version_in_root postgres; }
