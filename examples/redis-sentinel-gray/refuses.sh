#!/bin/sh
# Exits 0 when the primary refuses writes, 1 when it takes them, 2 when it does not say.
least=$(timeout 1 redis-cli -e --raw -h 127.0.0.1 -p 17001 config get min-replicas-to-write | tail -n 1) || exit 2
case $least in
  0) exit 1 ;;
  3) exit 0 ;;
  *) echo "min-replicas-to-write is $least" >&2; exit 2 ;;
esac
