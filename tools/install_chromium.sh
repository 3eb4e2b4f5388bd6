#!/usr/bin/env bash
# Install the browser that the tests of the consent page drive, where that is possible: Debian, as root. Elsewhere, and
# where it fails, those tests are skipped; so this never fails.
set -uo pipefail

if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
    echo "no chromium and chromedriver here: the tests that need them are skipped" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing chromium and chromium-driver ..." >&2
{
    timeout 120 apt-get update -qq
    timeout 600 apt-get install -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core
} > /dev/null 2>&1 || echo "they cannot be installed: the tests that need them are skipped" >&2
exit 0
