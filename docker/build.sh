#!/usr/bin/env bash
# Builds the image `kubelab`. Where no base image can be pulled, one is made from Debian's packages (debootstrap).
set -euo pipefail
cd "$(dirname "$0")/.."

base=${BASE:-debian:bookworm-slim}
if ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull --quiet "$base" 2>/dev/null; then
  base=kubelab-base
  docker image inspect "$base" >/dev/null 2>&1 || docker/base-image.sh "$base"
fi

cargo build --release
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp target/release/kubelab docker/Dockerfile "$context/"
DOCKER_BUILDKIT=0 docker build --quiet --build-arg BASE="$base" --tag kubelab "$context"
echo "the image kubelab is ready; start a lab with: docker-compose up --detach"
