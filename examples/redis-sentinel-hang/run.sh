#!/usr/bin/env bash
# run.sh [plan]: sets redis up, breaks it (or only shows what would be done), takes it down.
cd "$(dirname "$0")"
. ../redis-sentinel/redis.sh
redis_break "${1:-run}"
