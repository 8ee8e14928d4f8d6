#!/usr/bin/env bash
# Streams raw samples from standard input through a model of jouled; prints one JSON line per window. Needs socat and jq.
#
#   arecord -q -t raw -f S16_LE -r 16000 | ./stream.sh silero-vad 16000
set -euo pipefail
model=${1:?usage: stream.sh MODEL RATE_HZ [s16le|f32le] [SOCKET]} rate=${2:?the sample rate in Hz}
format=${3:-s16le} socket=${4:-/run/jouled/jouled.sock}
size=2
[[ $format == f32le ]] && size=4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/opened"

# The header of a frame, little-endian: length, type, flags, index of the first sample, nanoseconds of CLOCK_MONOTONIC (near enough: the uptime).
header() {
    local length=$1 kind=$2 index=$3 up text='' byte value width
    read -r up _ </proc/uptime
    for field in "$length:4" "$kind:2" "0:2" "$index:8" "$((${up/./} * 10000000)):8"; do
        value=${field%:*} width=${field#*:}
        for ((; width > 0; width--, value >>= 8)); do
            printf -v byte '\\x%02x' $((value & 255))
            text+=$byte
        done
    done
    printf '%b' "$text"
}

# The call that opens the stream; once it is confirmed, a second of samples a frame, and END.
frames() {
    local index=0 whole
    jq -jnc --arg model "$model" --arg format "$format" --argjson rate "$rate" \
        '{method: "io.jouled.Streams.Open", upgrade: true, parameters: {model: $model, format: $format, sampleRateHz: $rate}}'
    printf '\0'
    read -r _ <"$work/opened" || return 0
    while head -c $((rate * size)) >"$work/samples"; do
        whole=$(($(stat -c %s "$work/samples") / size * size))
        ((whole)) || break
        header "$whole" 1 "$index"
        head -c "$whole" "$work/samples"
        index=$((index + whole / size))
    done
    header 0 4 "$index"
}

# The reply up to its NUL, then frames, byte by byte, put together and read by jq.
results() {
    local reply
    IFS= read -r -d '' reply || { echo "stream.sh: jouled cannot be reached" >&2; return 1; }
    if jq -e .error <<<"$reply" >/dev/null; then
        echo "stream.sh: $reply" >&2
        : >"$work/opened"
        return 1
    fi
    echo go >"$work/opened"
    stdbuf -oL od -An -v -tu1 -w1 | jq --unbuffered -nc --argjson reply "$reply" '
        def unsigned: reduce reverse[] as $byte (0; . * 256 + $byte);
        def float($exponentBits; $fractionBits):
            unsigned as $bits | pow(2; $exponentBits + $fractionBits) as $sign | pow(2; $fractionBits) as $one
            | (if $bits >= $sign then -1 else 1 end) as $factor | (if $bits >= $sign then $bits - $sign else $bits end) as $rest
            | ($rest / $one | floor) as $exponent | ($rest - $exponent * $one) as $fraction | (pow(2; $exponentBits - 1) - 1) as $bias
            | if $exponent == 0 then $factor * ldexp($fraction; 1 - $bias - $fractionBits)
              else $factor * ldexp($fraction + $one; $exponent - $bias - $fractionBits) end;
        # A double has more bits than a number of jq: its two halves are taken apart.
        def double: (.[0:4] | unsigned) as $low | (.[4:8] | unsigned) as $high | ($high / 1048576 | floor) as $exponent
            | ldexp(($high - $exponent * 1048576) * 4294967296 + $low + 4503599627370496; $exponent - 1075);
        $reply.parameters.contract as $contract | [$contract.outputs[].labels[]] as $labels
        | foreach inputs as $byte ({bytes: []}; .bytes = (if .whole then [] else .bytes end) + [$byte] | (.bytes | length) as $count
            | if $count == 24 then .need = 24 + (.bytes[0:4] | unsigned) else . end | .whole = ($count >= 24 and $count == .need);
            select(.whole) | .bytes)
        | .[24:] as $payload | (.[4:6] | unsigned) as $kind
        | if $kind == 16 then
            {end: (.[8:16] | unsigned), variant: $contract.variants[$payload[0:2] | unsigned], joules: ($payload[8:16] | double)}
            + ([range($payload[4:8] | unsigned) as $at | {key: $labels[$at], value: ($payload[16 + 4 * $at:20 + 4 * $at] | float(8; 23))}] | from_entries)
          elif $kind == 18 then $payload | implode | fromjson.message | error
          else empty end  # notices: another variant, a gap, the end'
}

frames | socat -t 3600 - "UNIX-CONNECT:$socket" | results
