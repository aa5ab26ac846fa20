#!/usr/bin/env bash
# scripts/install_dependencies, on a machine of the test's own making: a dpkg-query that knows the packages of installed.txt, an
# apt-get and a sudo that note what they are told, an id that is root or not. Nothing is installed.
set -euo pipefail

fail() { echo "FAILED: $*"; exit 1; }
mkdir tools machine
for tool in bash env grep cat; do ln -s "$(command -v "$tool")" tools; done  # the machine has no other: no real sudo, no real apt-get
program() { cat >"machine/$1" && chmod +x "machine/$1"; }
program dpkg-query <<'E2'
#!/usr/bin/env bash
# As dpkg-query -W -f='${Status}' PACKAGE: a package that was removed, but for its settings, is known as well.
for package; do :; done
if grep -qx "$package" installed.txt; then echo "install ok installed"; exit; fi
grep -qx "$package" removed.txt && echo "deinstall ok config-files" && exit
echo "dpkg-query: no packages found matching $package" >&2
exit 1
E2
program apt-get <<'E2'
#!/usr/bin/env bash
echo "$DEBIAN_FRONTEND apt-get $*" >>called.txt
[ ! -e apt_get_fails ]
E2
program id <<'E2'
#!/usr/bin/env bash
[ "$*" = -u ] && cat uid.txt
E2
sudo_program() {
  program sudo <<'E2'
#!/usr/bin/env bash
echo sudo >>called.txt
"$@"
E2
}

all=$(sed -n '/^packages=(/,/)$/p' "$SOURCE/scripts/install_dependencies" | tr -d '()' | sed 's/packages=//')
[ "$(wc -w <<<"$all")" -gt 10 ] || fail "the script's packages were not found: $all"
# install CODE [ARGUMENT...]: runs it, expects CODE; said.txt is what it says, called.txt what it asked for.
install() {
  local expected=$1 code=0
  shift
  : >called.txt
  PATH=$PWD/machine:$PWD/tools bash "$SOURCE/scripts/install_dependencies" "$@" >said.txt 2>&1 || code=$?
  [ "$code" -eq "$expected" ] || fail "install_dependencies $*: $code, expected $expected: $(cat said.txt called.txt)"
}
called() { [ "$(cat called.txt)" = "$1" ] || fail "called: $(cat called.txt); expected: $1"; }
update="noninteractive apt-get update -qq"
get="noninteractive apt-get install -y -qq --no-install-recommends"

# Everything is there: nothing is called, nothing is said, whoever asks.
printf '%s\n' $all >installed.txt
: >removed.txt
for uid in 0 1000; do
  echo "$uid" >uid.txt
  install 0
  called ""
  [ ! -s said.txt ] || fail "with nothing to do it says: $(cat said.txt)"
done

# Root: what is missing, and no more; also what was removed again.
echo 0 >uid.txt
grep -vx "catch2\|cmake" <<<"$(printf '%s\n' $all)" >installed.txt
echo catch2 >removed.txt
install 0
called "$update
$get cmake catch2"
grep -q "installing, which can take some minutes: cmake catch2" said.txt || fail "it does not say what it installs: $(cat said.txt)"
# What an argument adds comes with it; of two arguments, both.
printf '%s\n' $all perl >installed.txt
install 0 --quickstart --test
called "$update
$get perl-doc python3 gzip zstd openmpi-bin libopenmpi-dev"
install 0 --mpi
called "$update
$get openmpi-bin libopenmpi-dev"
install 0 --bench
called "$update
$get libdnnl-dev sentencepiece"
# What apt-get cannot do is a failure.
touch apt_get_fails
install 1 --quickstart
rm apt_get_fails

# A user with sudo: each call through it. Without: a sentence that names the packages, and nothing is called.
echo 1000 >uid.txt
sudo_program
install 0 --quickstart
called "sudo
$update
sudo
$get perl-doc"
rm machine/sudo
install 1 --quickstart --test
called ""
grep -q "bittern needs these packages, and neither root nor sudo is here to install them: perl-doc python3 gzip zstd" said.txt ||
  fail "neither root nor sudo: $(cat said.txt)"

install 2 --everything
called ""
grep -q "unknown argument --everything; expected --quickstart, --mpi, --test or --bench" said.txt || fail "unknown argument: $(cat said.txt)"
echo "install_dependencies: as root, with sudo, with neither; what is missing, and no more"
