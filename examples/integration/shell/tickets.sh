#!/usr/bin/env bash
# A small ticketing system: asks for exceptions, and applies what Reprieve decides.
#
#   tickets.sh submit TICKET NEW_DATE REQUESTER JUSTIFICATION
#   tickets.sh follow [COUNT]
#
# Needs reprieve, amqp-consume (Debian: amqp-tools) and jq. AMQP_URL is the broker; TICKETS is a JSON file that stands
# for the ticketing system's database.
set -euo pipefail
export TICKETS=${TICKETS:-tickets.json}

# The same request has the same id: sent again after a lost confirm it is a repeat, without effect. `amqp-publish` knows
# no confirms; `reprieve events publish` waits for them, names its user, and publishes persistently.
submit() {
    jq --compact-output --exit-status --arg ticket "$1" --arg date "$2" --arg requester "$3" --arg why "$4" '
        .tickets[$ticket] as {$title, $severity, $due_date} | "EX-\($ticket)-\($date)" as $exception |
        { specversion: "1.0", type: "exception.submitted.v1", source: "urn:tickets", id: "\($exception)/submitted",
          data: { exception_id: $exception,
                  ticket: { id: $ticket, title: $title, severity: $severity, current_due_date: $due_date },
                  requester: { id: $requester }, reason: "fix_unavailable", justification: $why,
                  requested_due_date: $date } }' "$TICKETS" | reprieve events publish -
    echo "confirmed by the broker: EX-$1-$2/submitted; applied only when GET /api/v1/exceptions/EX-$1-$2 shows it"
}

# Each event is acknowledged when its command ends well. One at a time, so that they stay in order. The address is taken
# apart, since everybody on this machine sees the arguments of a program: the password goes through a pipe.
follow() {
    local form='^(amqps?)://([^:@/]+):([^:@/]+)@([^:@/]+)(:([0-9]+))?(/([^/?]*))?$' tls=() part=()
    [[ $AMQP_URL =~ $form ]] || { echo "AMQP_URL has to be amqp://USER:PASSWORD@HOST[:PORT][/VHOST]" >&2; exit 2; }
    mapfile -t part < <(printf '%b\n' "${BASH_REMATCH[@]//%/\\x}")
    [[ ${part[1]} == amqp ]] || tls=(--ssl --cacert=/etc/ssl/certs/ca-certificates.crt)
    exec amqp-consume --server="${part[4]}" ${part[6]:+--port="${part[6]}"} --vhost="${part[8]:-/}" "${tls[@]}" \
        --authfile=<(printf 'username:%s\npassword:%s\n' "${part[2]}" "${part[3]}") \
        --queue=exceptions.out.tickets --prefetch-count=1 ${1:+--count="$1"} bash "$0" handle
}

# What cannot be applied ends `follow`, and the event comes again.
handle() {
    bash "$0" apply || kill "$PPID"
}

# Changes the ticket and notes that the event was seen, both in one write. Dates and statuses of one exception are two
# rows of events, each in the order of `sequence`.
apply() {
    local result
    result=$(jq --compact-output --exit-status --argjson event "$(cat)" '
        . as $book | $event as {$id, $type, $sequence, $data} | .tickets[$data.ticket_id] as $ticket |
        "\($data.exception_id)/\($type | split(".")[0])" as $row | (.last[$row] // "") as $last |
        ($type == "ticket.deferral_requested.v1") as $deferral |
        if .seen | index([$id]) then { outcome: "repeated" }
        elif $sequence <= $last then { outcome: "overtaken" }
        elif $ticket == null then { outcome: "unknown ticket" }
        elif $type == "exception.status_changed.v1" then
            { outcome: "applied", path: ["exceptions", $data.exception_id],
              value: "\($data.to_status)/\($data.to_enforcement)" }
        elif $deferral and $ticket.due_date == $data.expected_due_date then
            { outcome: "applied", path: ["due_date"], value: $data.new_due_date }
        elif $deferral and $ticket.due_date != $data.new_due_date then
            { outcome: "conflict" } # somebody changed the date meanwhile: a person has to look
        else { outcome: "nothing to do" } end |
        .path as $path | .value as $value | .said = "\(.outcome) \($type)" | .book = $book |
        if $path then .book |= setpath(["tickets", $data.ticket_id] + $path; $value) else . end |
        if .outcome == "repeated" then . else
            .book.seen += [$id] | .book.last[$row] = ([$sequence, $last] | max) end' "$TICKETS")
    jq .book <<<"$result" >"$TICKETS.new"
    sync "$TICKETS.new" # a power cut takes back nothing that is acknowledged; of a database, COMMIT sees to it
    mv "$TICKETS.new" "$TICKETS"
    jq --raw-output .said <<<"$result"
}

case ${1:-}:$# in
submit:5 | follow:[12] | handle:1 | apply:1) "$@" ;;
*) sed -n '4,5s/^# *//p' "$0" >&2; exit 2 ;;
esac
