#!/bin/sh
# What may be tuned of Trunkline's queues, as policies: lengths, and an expiry of what waits for an operator's eyes only.
# What safety hangs on (queue type, dead-letter target, reject-publish, delivery limit) are the queues' own arguments.
# Usage: policies.sh [VHOST]; run where rabbitmqctl reaches the node, for instance
#   docker compose exec rabbitmq sh /etc/trunkline/policies.sh
set -eu
vhost=${1:-/}
# Full queues refuse to take more, and the outbox keeps what they refuse: nothing is dropped.
rabbitmqctl set_policy --vhost "$vhost" --apply-to queues --priority 1 trunkline-work \
  '^trunkline\.(persistence|crm|recordings|dial|respool)$' '{"max-length-bytes": 8589934592}'
rabbitmqctl set_policy --vhost "$vhost" --apply-to queues --priority 1 trunkline-dead \
  '^trunkline\..*\.dead$' '{"max-length-bytes": 1073741824, "overflow": "reject-publish"}'
