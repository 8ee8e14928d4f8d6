#!/usr/bin/env bash
# Says when somebody begins and ceases to speak, from the default microphone. Needs alsa-utils, joulectl and jq.
#
# RECORDER is another command that writes 16 kHz mono s16le, e.g. RECORDER="parec --raw --format=s16le --rate=16000 --channels=1".
set -euo pipefail
${RECORDER:-arecord -q -t raw -f S16_LE -c 1 -r 16000} | joulectl stream silero-vad --name microphone --tolerance 500ms |
    jq --unbuffered -nr '
        # Speech begins at 0.5 and ends after 10 windows (a third of a second) below 0.35, so that a breath ends nothing.
        foreach inputs as $window ({speaks: false, quiet: 0};
            (if $window.speech_probability < 0.35 then .quiet + 1 else 0 end) as $quiet
            | {quiet: $quiet, was: .speaks, speaks: ($window.speech_probability >= 0.5 or (.speaks and $quiet < 10)), at: ($window.end / 16000)};
            select(.speaks != .was) | "\(.at) s: \(if .speaks then "speech" else "silence" end)")'
