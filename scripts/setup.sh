#!/bin/sh
# Brings what the given groups of work need onto this machine, and nothing that is there already.
#
#   scripts/setup.sh [build] [demo] [test] [bench] [kernels] [cluster] [nodes] [images] [monitoring]
#      default: build
#
# Debian packages come by apt, which is asked only when something is missing; npm packages come by `npm ci`, which runs
# only when package-lock.json is newer than what is installed. Safe to run again at any time.
set -eu
cd "$(dirname "$0")/.."

# Older ones are refused untried: what the verifier says about their code is nobody's experience here.
min_clang=16
# From 21 on Go fetches for itself the newer one that a module asks for.
min_go=21
packages=''
wants_prometheus=''

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

want() { # want PACKAGE REASON
  case " $packages " in *" $1 "*) return 0 ;; esac
  say "missing: $2 -> package $1"
  packages="$packages $1"
}

# An administrator's tools are often outside of a user's PATH.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
has() { command -v "$1" >/dev/null 2>&1; }
need_command() { has "$1" || want "$2" "command $1"; }
need_file() { [ -e "$1" ] || want "$2" "file $1"; }

clang_is_there() {
  for version in 22 21 20 19 18 17 16; do
    has "clang-$version" && has "llvm-strip-$version" && return 0
  done
  has clang && has llvm-strip || return 1
  [ "$(clang -dumpversion | cut -d. -f1)" -ge "$min_clang" ]
}

libbpf_is_there() {
  for folder in /lib /usr/lib /lib64 /usr/lib64 /lib/*-linux-gnu /usr/lib/*-linux-gnu; do
    [ -e "$folder/libbpf.so.1" ] && return 0
  done
  return 1
}

want_clang() {
  clang_is_there && return 0
  # Which clang the distribution has can only be told once apt's lists are fresh: see install_packages.
  want CLANG "clang $min_clang or newer, with llvm-strip"
}

group_build() {
  want_clang
  libbpf_is_there || want libbpf1 'library libbpf.so.1'
  need_file /usr/include/bpf/bpf_helpers.h libbpf-dev
  need_file /usr/include/linux/bpf.h linux-libc-dev
  need_command make make
  has node || want nodejs 'command node, any version from 18 on'
  need_command npm npm
}

group_demo() {
  need_command nmap nmap
  need_command curl curl
  need_command ip iproute2
  need_command nsenter util-linux
  need_command ethtool ethtool
  need_command sysctl procps
}

group_test() {
  group_demo
  need_command git git
  need_command systemd-analyze systemd
  need_command bpftool bpftool
  need_command nft nftables
  need_command tcpdump tcpdump
  need_command hping3 hping3
  need_command python3 python3
}

group_bench() {
  group_test
  need_command xdp-filter xdp-tools
}

# The kernels themselves are not installed: test/kernels/kernels.ts downloads and unpacks them.
group_kernels() {
  need_command qemu-system-x86_64 qemu-system-x86
  need_file /bin/busybox busybox-static
  need_command strip binutils
  need_command xz xz-utils
  need_file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
  need_command ip iproute2
  need_command ethtool ethtool
  need_command nsenter util-linux
}

# etcd and Kubernetes themselves are not installed: test/cluster/control-plane/build.ts has Go build them.
group_cluster() {
  need_command openssl openssl
  need_command ss iproute2
  need_command flock util-linux
  need_command setpriv util-linux
  need_command nsenter util-linux
  need_command curl curl
  [ -n "${KUBEBUILDER_ASSETS:-}" ] || go_is_there || want GO "Go 1.$min_go or newer"
}

# What the distribution has of a node; kubelet is built by Go: test/cluster/real-nodes/build.ts.
group_nodes() {
  group_cluster
  need_command containerd containerd
  need_command runc runc
  need_command nft nftables
  cni_is_there || want containernetworking-plugins 'CNI plugins'
}

cni_is_there() {
  for folder in /opt/cni/bin /usr/lib/cni /usr/libexec/cni; do
    [ -x "$folder/ptp" ] && return 0
  done
  return 1
}

# mmdebstrap makes the base that the Dockerfiles are tried on where no registry can be reached.
group_images() {
  builder_is_there || want buildah 'docker with a daemon and buildx, podman or buildah'
  need_command mmdebstrap mmdebstrap
  need_command runc runc
  need_command tar tar
}

# Prometheus is not installed, since Debian's package starts a service: test/chart/prometheus.ts unpacks it, and Go builds Helm.
group_monitoring() {
  [ -n "${KUBEBUILDER_ASSETS:-}" ] || go_is_there || want GO "Go 1.$min_go or newer"
  need_command dpkg-deb dpkg
  wants_prometheus=yes
}

# A client of docker without its daemon builds nothing.
builder_is_there() {
  has podman || has buildah || { has docker && docker info >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }
}

go_is_there() {
  for program in go /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
    has "$program" || continue
    minor=$("$program" env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -lt "$min_go" ] || return 0
  done
  return 1
}

# The newest Go that this distribution has, when it is new enough.
go_package() {
  apt-cache pkgnames golang-1 | sed -n 's/^golang-1\.\([0-9][0-9]*\)-go$/\1/p' | sort -n |
    tail -1 | while read -r minor; do [ "$minor" -lt "$min_go" ] || echo "golang-1.$minor-go"; done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif has sudo; then
    sudo "$@"
  else
    fail "root is needed to install:$packages. Run this as root, or install sudo."
  fi
}

install_packages() {
  [ -n "$packages" ] || return 0
  has apt-get || fail "install these by this system's own means (Debian's names):$(echo "$packages" | sed "s/CLANG/clang llvm/; s/GO/golang-go/")"
  say 'apt-get update'
  as_root apt-get -qq update
  chosen=''
  for package in $packages; do
    if [ "$package" = CLANG ]; then
      if apt-cache show clang-19 >/dev/null 2>&1; then package='clang-19 llvm-19'; else package='clang llvm'; fi
    fi
    if [ "$package" = GO ]; then
      package=$(go_package)
      # Only the tests on a control plane need it; they say so themselves once more.
      [ -n "$package" ] || say "this distribution has no Go 1.$min_go or newer: get one from https://go.dev/dl/ for the tests on a real API server"
    fi
    chosen="$chosen $package"
  done
  [ -n "$(echo "$chosen" | tr -d ' ')" ] || return 0
  say "apt-get install$chosen"
  # shellcheck disable=SC2086 # a list of words is meant
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $chosen >/dev/null
  case "$packages" in *CLANG*) ;; *) return 0 ;; esac
  clang_is_there || fail "the clang that this distribution has is older than $min_clang: install a newer one"
}

install_node_modules() {
  if [ -x node_modules/.bin/node ] && ! [ package-lock.json -nt node_modules/.package-lock.json ]; then return; fi
  say 'npm ci'
  bootstrap_node
  npm ci --no-audit --no-fund --loglevel=error
  # The Node.js that the package `node` brings comes by its install script, which an administrator's npm may refuse to run.
  node_modules/.bin/node --version >/dev/null 2>&1 ||
    fail 'node_modules/.bin/node does not run: allow the install script of the npm package "node" (npm config get ignore-scripts)'
  touch node_modules/.package-lock.json
}

# npm leaves out, without a word, optional packages that do not fit the Node.js it runs under, native parts of the tools
# among them. So under a Node.js that is too old for those, npm is given the project's own.
bootstrap_node() {
  [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ] || return 0
  version=$(node -p 'require("./package.json").devDependencies.node')
  folder=$PWD/build/bootstrap-node
  say "Node.js $version for npm, since the machine's is $(node --version)"
  npm install --no-save --no-audit --no-fund --loglevel=error --prefix "$folder" "node@$version"
  npm_script=$(readlink -f "$(command -v npm)")
  # Debian keeps npm's own dependencies where only Debian's Node.js looks without being told.
  npm() { PATH="$folder/node_modules/.bin:$PATH" NODE_PATH=/usr/share/nodejs NODE_NO_WARNINGS=1 node "$npm_script" "$@"; }
}

[ $# -gt 0 ] || set -- build
for group in "$@"; do
  case "$group" in
    build | demo | test | bench | kernels | cluster | nodes | images | monitoring) "group_$group" ;;
    *) fail "unknown group $group: build, demo, test, bench, kernels, cluster, nodes, images or monitoring" ;;
  esac
done
install_packages
install_node_modules
# The tests say once more what is missing, and the others can go on without it.
[ -z "$wants_prometheus" ] || node_modules/.bin/node test/chart/prometheus.ts >/dev/null || true
say "everything for \"$*\" is there"
