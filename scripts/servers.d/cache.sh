# shellcheck shell=bash
# What is fetched once for all instances and checkouts: a root with MySQL, Redis and PostgreSQL, Kafka's
# jars, FerretDB. Each part is built under a lock into a temporary name and renamed when it is whole.

readonly KAFKA_VERSION=4.3.0 LOG4J_VERSION=2.25.4 FERRETDB_VERSION=2.7.0
readonly ROOT=$CACHE/root KAFKA_JARS=$CACHE/kafka-$KAFKA_VERSION FERRETDB=$CACHE/ferretdb-$FERRETDB_VERSION
readonly OTHER_WAY='the other way is Docker'

# fetch PART BUILDER SERVER WHAT: a subshell, so that the lock goes with it.
fetch() (
  [[ ! -e $1 ]] || exit 0
  lock "$1.lock"
  [[ ! -e $1 ]] || exit 0
  say "$3" "fetching $4 ..."
  rm -rf --one-file-system "$1.new" || fail "$3" "cannot remove $1.new"
  "$2" "$1.new" >"$1.log" 2>&1 </dev/null || fail "$3" "fetching failed, see $1.log; $OTHER_WAY"
  mv -T "$1.new" "$1"
)

fetch_root() {
  [[ ! -e $ROOT ]] || return 0
  ((EUID == 0)) || fail "$1" "running natively needs root (for chroot); $OTHER_WAY"
  [[ -n $(debian_mirror) ]] || fail "$1" "no Debian mirror among apt's sources (is this Debian?); $OTHER_WAY"
  fetch "$ROOT" build_root "$1" 'MySQL, Redis and PostgreSQL into the cache (about a minute)'
}

fetch_kafka() {
  command -v java >/dev/null || fail kafka "needs a Java 17 runtime (apt-get install openjdk-17-jdk-headless); $OTHER_WAY"
  [[ ! -e $KAFKA_JARS ]] || return 0
  command -v mvn >/dev/null || fail kafka "needs Maven to be fetched (apt-get install maven); $OTHER_WAY"
  fetch "$KAFKA_JARS" build_kafka kafka "Kafka $KAFKA_VERSION into the cache (10 s)"
}

fetch_ferretdb() {
  [[ ! -e $FERRETDB ]] || return 0
  command -v go >/dev/null || fail mongodb "needs a mongod (SLUICE_MONGOD) or Go to build FerretDB (https://go.dev/dl); $OTHER_WAY"
  fetch "$FERRETDB" build_ferretdb mongodb "FerretDB $FERRETDB_VERSION into the cache (a minute or two)"
}

# The mirror that this machine's apt uses for Debian itself, in whichever format its sources are written.
# Whose an index is, is known after `apt-get update`; before that only the address can tell.
debian_mirror() {
  local mirror
  command -v apt-get >/dev/null || return 0
  # shellcheck disable=SC2016 # apt's own placeholders
  mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -nE 's#^Debian\|Debian\|(https?:.*)#\1#p')
  [[ -n $mirror ]] || mirror=$(apt-get update --print-uris 2>/dev/null |
    sed -nE "s#^'(https?:[^']*/debian)/dists/.*#\1#p")
  echo "${mirror%%$'\n'*}"
}

build_root() {
  local packages=mysql-server-core,mysql-client-core,redis-server apart=()
  packages+=,postgresql-18-documentdb,postgresql-18-postgis-3-scripts
  command -v mmdebstrap || apt-get install -y mmdebstrap || return
  # Its mounts are to go with it, also when it is killed.
  ! unshare --mount true || apart=(unshare --mount)
  # What Debian's unstable carries now is taken, so a stale index is no reason to stop.
  "${apart[@]}" mmdebstrap --mode=root --variant=apt \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --include="$packages" \
    sid "$1" "deb $(debian_mirror) sid main" &&
    chmod 755 "$1" &&
    root_versions "$1" >"$1/etc/sluice-versions" &&
    check_versions "$1/etc/sluice-versions"
}

root_versions() {
  # shellcheck disable=SC2016 # dpkg's own placeholders
  chroot "$1" dpkg-query --show --showformat '${Package} ${Version}\n' \
    mysql-server-core redis-server postgresql-18 postgresql-18-documentdb |
    sed -E 's/ ([0-9]+:)?([0-9.]+).*/ \2/; s/^postgresql-18-documentdb/documentdb/; s/^postgresql-18/postgres/; s/-server(-core)?//'
}

check_versions() {
  awk '{ have[$1] = $2 } END { print have["mysql"], have["documentdb"] }' "$1" | {
    read -r mysql documentdb
    echo "MySQL $mysql (at least 8.4), DocumentDB $documentdb (at least 0.107)"
    dpkg --compare-versions "$mysql" ge 8.4 && dpkg --compare-versions "$documentdb" ge 0.107
  }
}

version_in_root() { awk -v name="$1" '$1 == name { print $2 }' "$ROOT/etc/sluice-versions"; }

build_kafka() {
  mkdir -p "$1" && kafka_pom >"$1/pom.xml" &&
    mvn --batch-mode --file "$1/pom.xml" dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$1"
}

kafka_pom() {
  local dependency
  printf '%s\n' '<project><modelVersion>4.0.0</modelVersion>' \
    '<groupId>sluice</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>'
  for dependency in "org.apache.kafka kafka_2.13 $KAFKA_VERSION" "org.apache.kafka kafka-tools $KAFKA_VERSION" \
    "org.apache.logging.log4j log4j-slf4j-impl $LOG4J_VERSION" "org.apache.logging.log4j log4j-core $LOG4J_VERSION"; do
    # shellcheck disable=SC2086 # three words
    printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' $dependency
  done
  echo '</dependencies></project>'
}

build_ferretdb() {
  mkdir -p "$1" && GOBIN=$1 go install "github.com/FerretDB/FerretDB/v2/cmd/ferretdb@v$FERRETDB_VERSION"
}
