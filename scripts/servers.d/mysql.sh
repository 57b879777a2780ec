# shellcheck shell=bash
# MySQL in the cached root. Its data lies there too, linked from the instance's directory: a chroot sees
# nothing else, and a mount would need rights that containers do not have and would not outlive the machine.

mysql_up() {
  fetch_root mysql
  if ! running mysql; then
    mysql_initialise
    # The lock names a pid; after kill -9 another process may have that number.
    rm -f "$ROOT$JAIL/mysql/mysql.sock"{,.lock}
    launch mysql chroot "$ROOT" mysqld --no-defaults --user=root --datadir="$JAIL/mysql" \
      --port="${PORT[mysql]}" --bind-address=127.0.0.1 --socket="$JAIL/mysql/mysql.sock" --mysqlx=OFF \
      --secure-file-priv=NULL --sync-binlog=1 --innodb-flush-log-at-trx-commit=1 --max-connections=500
  fi
  await mysql mysql_ready
  say mysql "$(mysql_version) ready on 127.0.0.1:${PORT[mysql]}"
}

mysql_initialise() {
  jail mysql
  [[ ! -d $ROOT$JAIL/mysql ]] || return 0
  say mysql 'initialising (5 s) ...'
  rm -rf "$ROOT$JAIL/mysql.new"
  chroot "$ROOT" mysqld --no-defaults --user=root --datadir="$JAIL/mysql.new" --initialize-insecure \
    >"$STATE/mysql-initialise.log" 2>&1 </dev/null || fail mysql "initialising failed, see $STATE/mysql-initialise.log"
  mv -T "$ROOT$JAIL/mysql.new" "$ROOT$JAIL/mysql"
}

mysql_ready() {
  chroot "$ROOT" mysql --no-defaults --host=127.0.0.1 --port="${PORT[mysql]}" --user=root --connect-timeout=5 \
    --execute='SELECT 1' >/dev/null 2>&1 </dev/null
}

mysql_fetch() { fetch_root mysql; }
mysql_processes() { echo mysql; }
mysql_ports() { echo mysql; }
mysql_version() { version_in_root mysql; }
