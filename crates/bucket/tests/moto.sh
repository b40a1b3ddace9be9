#!/bin/sh
# Holds moto, another S3 server for tests, to the contract of every backend. By hand: it installs about 100 MB into a
# scratch folder. moto looks at no key and no signature, so the rules for wrong ones are told so.
set -eu
scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/python"
"$scratch/python/bin/pip" install --quiet 'moto[s3,server]'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$scratch/python/bin/moto_server" -H 127.0.0.1 -p "$port" >"$scratch/log" 2>&1 &
server=$!
tries=0
until curl --silent --fail --request PUT "http://127.0.0.1:$port/contract" >"$scratch/answer"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$scratch/log"; exit 1; }
    sleep 0.2
done
# Reads by everybody. moto asks for an action of its own for HEAD, which is a GetObject elsewhere.
bucket=arn:aws:s3:::contract
curl --silent --fail --request PUT --header 'content-type: application/json' --data-binary \
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
      "Action": ["s3:GetObject", "s3:HeadObject", "s3:ListBucket"], "Resource": ["'$bucket'", "'$bucket'/*"]}]}' \
    "http://127.0.0.1:$port/contract?policy" >"$scratch/answer"
export AWS_ACCESS_KEY_ID=moto-access AWS_SECRET_ACCESS_KEY=moto-secret
cargo run --release --package templar-bucket --example contract -- \
    "s3://contract?endpoint=http://127.0.0.1:$port" --any-key
