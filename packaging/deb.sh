#!/usr/bin/env bash
# Packs the built programs as a Debian package: packaging/deb.sh TOP OUTPUT-DIRECTORY. `make deb` builds first.
# Needs debhelper, and lintian to judge the result; both are installed by `make deb` if they are missing.
set -euo pipefail
top=$(realpath "$1") output=$(realpath -m "$2")
missing=()
for tool in dh:debhelper lintian:lintian dpkg-buildpackage:dpkg-dev; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
if ((${#missing[@]})); then
    echo "==> installing ${missing[*]}"
    sudo=; ((EUID == 0)) || sudo=sudo
    $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
version=$(sed -n 's/.*static let version = "\(.*\)"/\1/p' "$top/Sources/JouledDaemon/Services.swift")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/jouled-$version
mkdir -p "$tree" "$output"
cp -r "$top/packaging/debian" "$tree/debian"
# The date of the last commit, so that the same tree gives the same package.
date=$(git -C "$top" log -1 --format=%cD 2>/dev/null || date -R)
cat >"$tree/debian/changelog" <<CHANGELOG
jouled ($version) stable; urgency=medium

  * Release $version. What changed is in the repository's history.

 -- The jouled developers <maintainers@jouled.io>  $date
CHANGELOG
SOURCE_DATE_EPOCH=$(date -d "$date" +%s)
export SOURCE_DATE_EPOCH TOP=$top DEB_BUILD_OPTIONS=noautodbgsym
(cd "$tree" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >"$work/log" 2>&1) || { tail -n 40 "$work/log" >&2; exit 1; }
cp "$work"/*.deb "$output/"
echo "==> $(ls "$output"/jouled_"$version"_*.deb) ($(du -h "$output"/jouled_"$version"_*.deb | cut -f1))"
lintian --fail-on error,warning "$output"/jouled_"$version"_*.deb
echo "==> lintian has no errors and no warnings"
