#!/usr/bin/env bash
# Real S3 clients against our bucket server: aws, boto3 (with its defaults), s3cmd, and rclone where it is installed.
# By hand only: it installs the three Python packages into a scratch folder, which needs the network.
#
#   scripts/s3_clients.sh [PATH OF templar]       the release build where none is given
set -euo pipefail
cd "$(dirname "$0")/.."
templar=${1:-${CARGO_TARGET_DIR:-target}/release/templar}
scratch=$(mktemp -d)
port=${S3_CLIENTS_PORT:-9911}
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$scratch"' EXIT

python3 -m venv "$scratch/python"
"$scratch/python/bin/pip" install -q awscli boto3 s3cmd
# No TLS here: what a machine trusts besides is of no use, and rclone stumbles over it.
unset AWS_CA_BUNDLE
export PATH="$scratch/python/bin:$PATH" HOME="$scratch"
endpoint=http://127.0.0.1:$port
"$templar" bucket key add bucket-1 --data "$scratch/data" --endpoint "$endpoint" --json > "$scratch/key.json" 2>/dev/null
field() { python3 -c "import json,sys; print(json.load(open('$scratch/key.json'))['$1'])"; }
AWS_ACCESS_KEY_ID=$(field bucket_access_key)
AWS_SECRET_ACCESS_KEY=$(field bucket_secret_key)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_ENDPOINT_URL=$endpoint AWS_DEFAULT_REGION=us-east-1
"$templar" bucket --data "$scratch/data" --listen "127.0.0.1:$port" > "$scratch/server.log" &
server=$!
until curl -s -o /dev/null "$endpoint/bucket-1"; do sleep 0.1; done

failed=0
# try NAME COMMAND...: the command must succeed.
try() {
  local name=$1; shift
  if "$@" > "$scratch/out" 2>&1; then echo "ok    $name"; else echo "FAIL  $name"; tail -3 "$scratch/out"; failed=1; fi
}
cd "$scratch"
echo hello > small
head -c 20000000 /dev/urandom > large
mkdir -p tree/deep; cp small tree/a; cp small tree/deep/b

try "aws s3 ls"             aws s3 ls
try "aws s3 mb"             aws s3 mb s3://bucket-1
try "aws s3 cp"             aws s3 cp small s3://bucket-1/small
try "aws s3 cp, 20 MB"      aws s3 cp large s3://bucket-1/large
try "aws s3 cp, server to server" aws s3 cp s3://bucket-1/large s3://bucket-1/large-copy
try "aws s3 mv"             aws s3 mv s3://bucket-1/small s3://bucket-1/moved
try "aws s3 sync"           aws s3 sync tree s3://bucket-1/tree
try "aws s3 sync back"      aws s3 sync s3://bucket-1/tree back
try "aws s3 ls, recursive"  aws s3 ls --recursive s3://bucket-1
try "aws s3api get-bucket-location" aws s3api get-bucket-location --bucket bucket-1
try "aws s3 rm, recursive"  aws s3 rm --recursive s3://bucket-1/tree
try "the bytes came back"   cmp tree/deep/b back/deep/b

cat > boto.py <<'PYTHON'
import boto3, os, urllib.error, urllib.request
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
B = "bucket-1"

def code(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    raise AssertionError("it was not refused")

assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [B]
s3.put_object(Bucket=B, Key="typed", Body=b"x", ContentType="text/plain", Metadata={"author": "me"})
head = s3.head_object(Bucket=B, Key="typed")
assert head["ContentType"] == "text/plain" and head["Metadata"] == {"author": "me"}, head
s3.copy_object(Bucket=B, Key="copy", CopySource={"Bucket": B, "Key": "typed"})
assert s3.head_object(Bucket=B, Key="copy")["Metadata"] == {"author": "me"}
s3.copy_object(Bucket=B, Key="copy", CopySource={"Bucket": B, "Key": "typed"}, MetadataDirective="REPLACE", Metadata={"a": "b"})
assert s3.head_object(Bucket=B, Key="copy")["Metadata"] == {"a": "b"}
s3.put_object(Bucket=B, Key="typed", Body=b"y")
assert s3.head_object(Bucket=B, Key="typed")["Metadata"] == {}
assert [entry["Key"] for entry in s3.list_objects(Bucket=B, Prefix="ty")["Contents"]] == ["typed"]
assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=B, Prefix="co")["Contents"]] == ["copy"]
gone = s3.delete_objects(Bucket=B, Delete={"Objects": [{"Key": "copy"}, {"Key": "absent"}, {"Key": "../x"}]})
assert sorted(entry["Key"] for entry in gone["Deleted"]) == ["absent", "copy"] and gone["Errors"][0]["Key"] == "../x", gone
assert "LocationConstraint" in s3.get_bucket_location(Bucket=B)
s3.put_object(Bucket=B, Key="name", Body=b"x")
assert code(lambda: s3.put_object(Bucket=B, Key="name/below", Body=b"x"))[0] == "InvalidArgument"
for call in [
    lambda: s3.get_bucket_policy(Bucket=B),
    lambda: s3.get_bucket_versioning(Bucket=B),
    lambda: s3.get_object_tagging(Bucket=B, Key="name"),
    lambda: s3.put_object(Bucket=B, Key="name", Body=b"x", Tagging="a=b"),
    lambda: s3.list_multipart_uploads(Bucket=B),
]:
    assert code(call)[0] == "NotImplemented", code(call)
wrong = boto3.client("s3", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="wrong")
name, message = code(lambda: wrong.put_object(Bucket=B, Key="x", Body=b"x"))
assert name == "SignatureDoesNotMatch" and message not in ("", "Unknown"), message

def put(url):
    return urllib.request.urlopen(urllib.request.Request(url, data=b"signed", method="PUT")).status

signed = boto3.client("s3", config=Config(signature_version="s3v4"))
assert put(signed.generate_presigned_url("put_object", Params={"Bucket": B, "Key": "signed"})) == 200
old = boto3.client("s3", config=Config(signature_version="s3"))
try:
    put(old.generate_presigned_url("put_object", Params={"Bucket": B, "Key": "signed"}))
    raise AssertionError("signature version 2 passed")
except urllib.error.HTTPError as error:
    assert error.code == 400 and b"s3v4" in error.read(), error
PYTHON
try "boto3" python3 boto.py

s3cmd="s3cmd --access_key=$AWS_ACCESS_KEY_ID --secret_key=$AWS_SECRET_ACCESS_KEY --no-ssl --host=127.0.0.1:$port --host-bucket=127.0.0.1:$port"
try "s3cmd ls"              $s3cmd ls
try "s3cmd put"             $s3cmd put small s3://bucket-1/s3cmd/small
try "s3cmd put, 20 MB"      $s3cmd put large s3://bucket-1/s3cmd/large
try "s3cmd get"             $s3cmd get --force s3://bucket-1/s3cmd/large got
try "the bytes came back"   cmp large got
try "s3cmd cp"              $s3cmd cp s3://bucket-1/s3cmd/small s3://bucket-1/s3cmd/copy
try "s3cmd sync"            $s3cmd sync tree/ s3://bucket-1/s3cmd/tree/
try "s3cmd del, recursive"  $s3cmd del --recursive --force s3://bucket-1/s3cmd

if command -v rclone > /dev/null; then
  export RCLONE_CONFIG_T_TYPE=s3 RCLONE_CONFIG_T_PROVIDER=Other RCLONE_CONFIG_T_ENV_AUTH=true RCLONE_CONFIG_T_ENDPOINT=$endpoint
  try "rclone lsd"          rclone lsd t:
  try "rclone copy"         rclone copy tree t:bucket-1/rclone
  try "rclone copy, 20 MB"  rclone copyto large t:bucket-1/rclone/large
  try "rclone check"        rclone check tree t:bucket-1/rclone --one-way
  try "rclone moveto"       rclone moveto t:bucket-1/rclone/large t:bucket-1/rclone/moved
  try "rclone delete"       rclone delete t:bucket-1/rclone
else
  echo "skip  rclone: it is not installed"
fi
exit $failed
