#!/bin/sh
# packages.sh ARCHITECTURE FOLDER PACKAGE...: fetches Debian packages of this release for an architecture (amd64, arm64) and
# unpacks each into FOLDER/NAME/, its control file as FOLDER/NAME.control. Nothing is installed, so that no program of another
# architecture has to run.
set -eu
architecture=$1
folder=$2
shift 2
own=$(dpkg --print-architecture)
[ "$architecture" = "$own" ] || dpkg --add-architecture "$architecture"
apt-get -qq update
mkdir -p "$folder/archives"
# apt fetches as a user of its own, who must be able to write here.
chmod 777 "$folder/archives"
cd "$folder/archives"
for package in "$@"; do
  apt-get -qq download "$package:$architecture"
  dpkg-deb --extract "$package"_*.deb "$folder/$package"
  dpkg-deb --field "$package"_*.deb > "$folder/$package.control"
done
rm -rf "$folder/archives" /var/lib/apt/lists/*
