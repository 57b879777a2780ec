# shellcheck shell=bash
# What scripts/up, down and status share: the processes `api` and `worker`, detached like the servers.
# Each runs from var/run/NAME, so a build does not touch it and it is known by its path.

# shellcheck source=/dev/null
source "$(dirname "${BASH_SOURCE[0]}")/servers.d/common.sh"
# The names that common.sh's functions go by.
# shellcheck disable=SC2034
readonly INSTANCE=app STATE=$CHECKOUT/var/run

program() { echo "$STATE/$1/sluice-$1"; }

port_of() { cat "$STATE/$1/port" 2>/dev/null; }

ready() { [[ $(ask "$(port_of "$1")" 'GET /readyz HTTP/1.0\r\n\r\n') == *' 200 '* ]]; }
