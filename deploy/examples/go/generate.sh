#!/usr/bin/env bash
# Generates the Go code of the protocol in affectdv1/ from proto/affectd/v1.
# usage: ./generate.sh      requires protoc, protoc-gen-go 1.36 and protoc-gen-go-grpc 1.6
set -euo pipefail
cd "$(dirname "$0")"

module=affectd.example/recognize
files=(audio.proto emotion.proto recognition.proto)
options=module=$module
for file in "${files[@]}"; do options+=,Maffectd/v1/$file=$module/affectdv1; done
protoc -I ../../../proto --go_out=. --go_opt="$options" --go-grpc_out=. --go-grpc_opt="$options" \
    "${files[@]/#/affectd/v1/}"
