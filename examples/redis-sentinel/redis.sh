# A primary, two replicas and three Sentinels on loopback ports, for the redis-sentinel
# examples. Sourced by their run.sh. It needs redis-server, redis-sentinel, redis-cli and
# timeout; no root. Everything lives in a folder of its own and ends with the script.

set -euo pipefail
servers='17001 17002 17003' # the first one is the primary at the start
sentinels='17011 17012 17013'
started=()
folder=

# need stops early, with what to install.
need() {
  command -v "$1" >/dev/null || { echo "this example needs $1: $2" >&2; exit 1; }
}

redis_down() {
  # Only what was started here, by the numbers that this shell still holds as its children.
  local pid
  for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true # bash would tell of each
  [ -z "$folder" ] || rm -r "$folder"
}

# background PROGRAM CONFIG: a child of this shell, its words in the folder.
background() {
  "$1" "$2" >>"$folder/log" 2>&1 &
  started+=($!)
}

ask() { timeout 1 redis-cli -h 127.0.0.1 -p "$@"; }

# until_says WORDS PORT COMMAND...: waits for an answer that holds the words.
until_says() {
  local words=$1 tries
  shift
  for tries in $(seq 150); do
    case "$(ask "$@" 2>/dev/null || true)" in *"$words"*) return ;; esac
    sleep 0.1
  done
  echo "redis on port $1 does not say $words: see what follows" >&2
  tail -20 "$folder/log" >&2
  return 1
}

redis_up() {
  need redis-server 'apt-get install redis-server'
  need redis-sentinel 'apt-get install redis-sentinel'
  need redis-cli 'apt-get install redis-tools'
  need timeout 'it is part of coreutils'
  local port
  for port in $servers $sentinels; do
    if ask "$port" ping >/dev/null 2>&1; then
      echo "something listens on port $port already: end it, it is not this example's" >&2
      return 1
    fi
  done
  folder=$(mktemp -d)
  for port in $servers; do
    mkdir "$folder/$port"
    printf '%s\n' "port $port" 'bind 127.0.0.1' "dir $folder/$port" 'save ""' 'repl-diskless-sync-delay 0' >"$folder/$port.conf"
    [ "$port" = 17001 ] || echo 'replicaof 127.0.0.1 17001' >>"$folder/$port.conf"
    background redis-server "$folder/$port.conf"
  done
  until_says 'connected_slaves:2' 17001 info replication
  for port in $sentinels; do
    printf '%s\n' "port $port" 'bind 127.0.0.1' "dir $folder" 'sentinel monitor store 127.0.0.1 17001 2' \
      'sentinel down-after-milliseconds store 1000' 'sentinel failover-timeout store 6000' >"$folder/$port.conf"
    background redis-sentinel "$folder/$port.conf"
  done
  for port in $sentinels; do
    until_says 'slaves=2,sentinels=3' "$port" info sentinel
  done
}

# redis_break COMMAND...: redis for as long as faultline takes, and its exit code.
redis_break() {
  need faultline 'go install github.com/faultline-sh/faultline/cmd/faultline@latest, or make build and put bin/ on your PATH'
  trap redis_down EXIT
  redis_up
  faultline "$@" experiment.yaml
}
