#!/usr/bin/env bash
# Makes a small Debian image without a registry: debootstrap, then docker import. Usage: base-image.sh NAME (as root)
set -euo pipefail
name=${1:?usage: base-image.sh NAME}
command -v debootstrap >/dev/null || { echo "debootstrap is missing; apt-get install debootstrap" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$root.log" ||
  { tail -5 "$root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
tar --create --directory "$root" . | docker import - "$name" >/dev/null
rm -f "$root.log"
echo "the image $name is ready"
