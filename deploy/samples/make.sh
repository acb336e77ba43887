#!/usr/bin/env bash
# Generates the sample recordings in this folder.
#
# Requires espeak-ng and sox; the files in this folder were made with espeak-ng 1.51 and SoX 14.4.2.
# usage: deploy/samples/make.sh [FOLDER]     (default: the folder of this script)
set -euo pipefail

out=$(realpath "${1:-$(dirname "$0")}")
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

# say NAME VOICE PITCH RANGE WORDS_PER_MINUTE AMPLITUDE TEXT
# Synthesizes one utterance at espeak-ng's own sample rate. RANGE is the variation of the pitch around PITCH.
say() {
    local ssml="<speak><prosody range=\"$4\">$7</prosody></speak>"
    espeak-ng -m -v "$2" -p "$3" -s "$5" -a "$6" -w "$parts/$1.wav" "$ssml"
}

# hiss RATE: prints the command that generates line noise. The pauses of a synthesizer are digital zeros, which do not
# occur in recordings or in training data.
hiss() {
    echo "sox -R -D -n -r $1 -c 1 -p synth 20 pinknoise vol -38dB"
}

# mono NAME PEAK_DB: writes NAME.wav at 16 kHz and 16 bits, with the reverberation of a small room, line noise, and 0.2 s
# of silence at both ends.
mono() {
    sox -R -D "$parts/$1.wav" -r 16000 -c 1 "$parts/$1-room.wav" \
        norm -6 rate -v pad 0.2 0.2 reverb 25 norm "$2"
    sox -R -D -m -v 1 "$parts/$1-room.wav" -v 1 "|$(hiss 16000)" -b 16 "$out/$1.wav" \
        trim 0 "$(soxi -D "$parts/$1-room.wav")"
}

say calm en-gb-x-rp+m3 42 x-low 145 90 \
    "Thank you for waiting. Your parcel left our warehouse on Tuesday, and it should reach you by noon tomorrow."
mono calm -9

say angry en-us+m7 68 x-high 205 190 \
    "No! This is the third time that I am calling! You charged me twice, and now you want me to wait again? I want my money back today!"
mono angry -1

say cheerful en-us+f3 78 x-high 180 130 \
    "Oh, that is wonderful news! It came this morning, and it works perfectly! You have made my week, thank you so much!"
mono cheerful -3

say sad en-gb+f2 20 x-low 130 60 \
    "I am sorry to bother you. I lost the ring that my mother gave me, and I miss it so much."
mono sad -14

# A call with two speakers in turn: the agent on the left channel, the customer on the right.
say agent1 en-gb-x-rp+f4 45 medium 175 110 "Good morning, customer care. How can I help?"
say caller1 en-us+m7 66 x-high 195 180 "My line has been dead for a week! Why does nobody answer?"
say agent2 en-gb-x-rp+f4 42 low 150 100 "I am sorry. An engineer can come tomorrow at nine."
say caller2 en-us+m3 45 medium 165 100 "All right. Nine is fine, thank you."
turns=(agent1 caller1 agent2 caller2)
left=() right=()
for turn in "${turns[@]}"; do
    # Limits the turn to the telephone band, adds a pause after it, and makes silence of the same length for the other channel.
    sox -R -D "$parts/$turn.wav" -r 8000 -b 16 -c 1 "$parts/$turn-8k.wav" norm -6 rate -v highpass 300 pad 0 0.3
    sox -R -D "$parts/$turn-8k.wav" "$parts/$turn-quiet.wav" vol 0
    case $turn in
    agent*) left+=("$parts/$turn-8k.wav") right+=("$parts/$turn-quiet.wav") ;;
    *) left+=("$parts/$turn-quiet.wav") right+=("$parts/$turn-8k.wav") ;;
    esac
done
sox -R -D "${left[@]}" "$parts/left.wav"
sox -R -D "${right[@]}" "$parts/right.wav"
for side in left right; do
    sox -R -D -m -v 1 "$parts/$side.wav" -v 1 "|$(hiss 8000)" "$parts/$side-line.wav" \
        trim 0 "$(soxi -D "$parts/$side.wav")"
done
sox -R -D -M "$parts/left-line.wav" "$parts/right-line.wav" -e mu-law -b 8 "$out/call-stereo-mulaw.wav"
