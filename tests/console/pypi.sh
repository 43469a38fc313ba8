#!/usr/bin/env bash
# Prints the folder of an environment under target/ in which this version of a package of PyPI stands alone; makes it once.
#   pypi.sh PACKAGE VERSION [PIP-OPTION...]
set -euo pipefail
package=$1 version=$2; shift 2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/../../target"
target=$(cd "$here/../../target" && pwd)
venv=$target/$package-$version
(
  flock 9
  [ -e "$venv/complete" ] && exit
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$@" "$package==$version" ||
    { rm -rf "$venv"; echo "$package $version can't be installed by pip" >&2; exit 69; }
  touch "$venv/complete"
) 9> "$target/.lock-$package"
echo "$venv"
