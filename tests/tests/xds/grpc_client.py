"""Calls one method of the target in the first argument for each line of standard input; prints what comes of it."""

import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
# Without serializers a message is bytes; no bytes are a message with nothing set.
check = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")
for _ in sys.stdin:
    try:
        print(check(b"", timeout=20, wait_for_ready=True), flush=True)
    except grpc.RpcError as error:
        print(error.code(), error.details(), flush=True)
