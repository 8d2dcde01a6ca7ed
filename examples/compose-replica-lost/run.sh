#!/usr/bin/env bash
# run.sh [plan]: sets the shop up, breaks it (or only shows what would be done), takes it down.
cd "$(dirname "$0")"
. ../shop/shop.sh
shop_break "${1:-run}"
