#!/bin/sh
# npm-ci.sh [ARGUMENT...]: `npm ci` inside of an image's build, without install scripts. Where the way to the registry is
# inspected, its certificate comes as the secret `ca`, which is in no layer.
set -eu
if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi
exec npm ci --ignore-scripts --no-audit --no-fund --loglevel=error "$@"
