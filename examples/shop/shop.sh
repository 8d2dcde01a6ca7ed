# The shop that the compose-* and haproxy-* examples break: three replicas of a
# small web service behind HAProxy, labelled as compose would. Sourced by their
# run.sh. It needs docker, go and haproxy (or SHOP_BALANCER, an image that has it,
# as haproxy:2.8); nothing is pulled unless SHOP_BALANCER says so.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
shop=faultline-shop

# need stops early, with what to install.
need() {
  command -v "$1" >/dev/null || { echo "this example needs $1: $2" >&2; exit 1; }
}

# own lists what an earlier run of an example may have left.
own() { docker ps --all --quiet --filter label=sh.faultline.example=$shop; }

shop_down() {
  local left
  left=$(own)
  [ -z "$left" ] || docker rm --force --volumes $left >/dev/null
  ! docker network inspect $shop >/dev/null 2>&1 || docker network rm $shop >/dev/null
}

# web_image holds one static program and nothing else.
web_image() {
  local build
  build=$(mktemp -d)
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -o "$build/web" ./internal/testenv/testserver)
  tar --create --directory "$build" web | docker import \
    --change 'ENTRYPOINT ["/web"]' \
    --change 'HEALTHCHECK --interval=500ms --timeout=1s --retries=2 CMD ["/web", "-check", "http://127.0.0.1:8080/healthz"]' \
    - $shop/web >/dev/null
  rm -r "$build"
}

# balancer_image packs this machine's haproxy with the libraries that it asks for.
balancer_image() {
  need haproxy 'apt-get install haproxy, or set SHOP_BALANCER=haproxy:2.8 to pull an image'
  local program
  program=$(command -v haproxy)
  { echo "$program"; ldd "$program" | grep --only-matching '/[^ ]*'; } |
    tar --create --dereference --absolute-names --transform 's,^/,,' --files-from - | docker import - $shop/haproxy >/dev/null
  SHOP_BALANCER=$shop/haproxy
}

# member SERVICE NUMBER ADDRESS FLAG... IMAGE [ARG...]
member() {
  local service=$1 number=$2 address=$3
  shift 3
  docker create --name "$shop-$service-$number" --hostname "$service-$number" --network $shop --ip "$address" \
    --label sh.faultline.example=$shop --label com.docker.compose.project=$shop --label com.docker.compose.oneoff=False \
    --label "com.docker.compose.service=$service" --label "com.docker.compose.container-number=$number" "$@" >/dev/null
}

shop_up() {
  need docker 'see https://docs.docker.com/engine/install'
  need go 'see https://go.dev/dl'
  shop_down
  web_image
  [ -n "${SHOP_BALANCER:-}" ] || balancer_image
  # Addresses that stay, so that haproxy.cfg can name them.
  docker network create --subnet 10.213.37.0/24 $shop >/dev/null
  local number
  for number in 1 2 3; do
    member web $number 10.213.37.1$number --restart always $shop/web -http :8080 -name "web-$number"
  done
  member balancer 1 10.213.37.10 --publish 127.0.0.1:18080:80 --user 0 --entrypoint haproxy "$SHOP_BALANCER" -f /haproxy.cfg
  docker cp "$here/haproxy.cfg" $shop-balancer-1:/haproxy.cfg
  docker start $shop-web-1 $shop-web-2 $shop-web-3 $shop-balancer-1 >/dev/null
  shop_healthy
}

# shop_healthy waits until every replica says so itself: replicas that are still
# starting do not count as healthy, and a plan must leave a healthy one.
shop_healthy() {
  local tries
  for tries in $(seq 100); do
    if [ "$(docker ps --quiet --filter label=sh.faultline.example=$shop --filter health=healthy | wc -l)" -eq 3 ]; then
      return
    fi
    sleep 0.2
  done
  echo "the shop does not get healthy: see docker logs $shop-web-1 and $shop-balancer-1" >&2
  return 1
}

# shop_break COMMAND...: the shop for as long as faultline takes, and its exit code.
shop_break() {
  need faultline 'go install github.com/faultline-sh/faultline/cmd/faultline@latest, or make build and put bin/ on your PATH'
  trap shop_down EXIT
  shop_up
  faultline "$@" experiment.yaml
}
