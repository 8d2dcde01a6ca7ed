#!/bin/sh
# What a client does: ask a Sentinel who the primary is, and write there. Prints OK.
for sentinel in 17011 17012 17013; do
  primary=$(timeout 0.3 redis-cli -h 127.0.0.1 -p $sentinel sentinel get-master-addr-by-name store | tail -n 1)
  [ -z "$primary" ] || exec timeout 0.5 redis-cli -e -h 127.0.0.1 -p "$primary" set faultline "written by $$"
done
echo 'no Sentinel answers' >&2
exit 1
