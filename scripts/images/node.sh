#!/bin/sh
# node.sh ARCHITECTURE FOLDER: lays out /target/node below FOLDER, without its symbols, a seventh of it that only a debugger reads.
set -eu
architecture=$1
folder=$2
case "$architecture" in
  amd64) triplet=x86-64-linux-gnu ;;
  arm64) triplet=aarch64-linux-gnu ;;
  *) echo "node.sh: unknown architecture $architecture" >&2 && exit 1 ;;
esac
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "binutils-$triplet" > /dev/null
rm -rf /var/lib/apt/lists/*
mkdir -p "$folder/usr/bin" "$folder/usr/share/doc/node"
"$(echo "$triplet" | sed s/x86-64/x86_64/)-strip" --strip-all -o "$folder/usr/bin/node" /target/node
chmod 755 "$folder/usr/bin/node"
cp /target/LICENSE "$folder/usr/share/doc/node/LICENSE"
chmod 644 "$folder/usr/share/doc/node/LICENSE"
# The same layer whenever it is made.
find "$folder" -exec touch --no-dereference --date=@0 {} +
