#!/bin/sh
# Makes the configuration and every secret that are not there yet: setup.sh CONFIGURATION_DIRECTORY SECRETS_DIRECTORY
set -eu
configuration=$1
secrets=$2
random() { python -c 'import secrets; print(secrets.token_urlsafe(32), end="")'; }
# The broker's and the database's users are others than ours: what they read is readable by all, inside this volume.
keep() { test -s "$1" || { umask 022; cat > "$1.new"; mv "$1.new" "$1"; }; }

mkdir -p "$secrets/hub"
test -s "$secrets/postgres_password" || random | keep "$secrets/postgres_password"
test -s "$secrets/rabbitmq_password" || random | keep "$secrets/rabbitmq_password"
rabbitmq=$(cat "$secrets/rabbitmq_password")
postgres=$(cat "$secrets/postgres_password")

keep "$secrets/rabbitmq.conf" <<CONF
listeners.tcp.default = 5672
default_user = trunkline
default_pass = $rabbitmq
cluster_partition_handling = pause_minority
log.console = true
CONF
printf 'amqp://trunkline:%s@rabbitmq/' "$rabbitmq" | keep "$secrets/hub/TRUNKLINE_BUS__URL"
printf 'postgresql://trunkline:%s@postgres/trunkline' "$postgres" | keep "$secrets/hub/TRUNKLINE_STORE__URL"
test -s "$configuration/trunkline.toml" || trunkline --config "$configuration/trunkline.toml" init
