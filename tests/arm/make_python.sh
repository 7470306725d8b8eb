#!/bin/sh
# make_python.sh FOLDER: a 64-bit Arm Python with the device install's packages, to run on another
# machine under qemu's user mode: no root, no container. Afterwards:
#
#     CPU=cortex-a72 FOLDER/python script.py     (a72: Raspberry Pi 4, a76: Raspberry Pi 5)
#
# The interpreter and its libraries come from Debian bookworm (as in Raspberry Pi OS), through this
# machine's own apt and mirror, and are unpacked, not installed; the packages are the aarch64 wheels
# that pip would install on the device. Needs qemu-aarch64-static, apt, and the network.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
pip=${PIP:-python3 -m pip}
packages=${PACKAGES:-numpy onnxruntime opencv-python-headless}
key=/usr/share/keyrings/debian-archive-keyring.gpg
version=3.11

fail() {
    echo "cannot make an Arm Python: $1" >&2
    exit 3
}

command -v apt-get >/dev/null || fail "this machine has no apt-get"
[ -e "$key" ] || fail "$key is missing: apt-get install debian-archive-keyring"
if ! command -v qemu-aarch64-static >/dev/null; then
    [ "$(id -u)" = 0 ] || fail "qemu is missing and only root can install it: apt-get install qemu-user-static"
    { apt-get install -y -qq -o DPkg::Lock::Timeout=120 qemu-user-static || { apt-get update -qq &&
        apt-get install -y -qq -o DPkg::Lock::Timeout=120 qemu-user-static; }; } >/dev/null 2>&1 ||
        fail "apt-get install qemu-user-static failed"
fi

# A package database of its own: this machine's is for another architecture, and is left alone.
state=$folder/apt
mkdir -p "$state/lists/partial" "$state/archives/partial" "$folder/debs" "$folder/root"
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 2>/dev/null |
    awk '$3 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }')
echo "deb [signed-by=$key] ${mirror:-http://deb.debian.org/debian} bookworm main" >"$state/sources.list"
own_apt() {
    apt-get -qq -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$state/lists" -o Dir::State::Status=/dev/null \
        -o Dir::Cache="$state" -o Dir::Cache::Archives="$state/archives" \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@"
}
own_apt update >/dev/null || fail "apt-get update of Debian's arm64 packages failed"
(cd "$folder/debs" && own_apt download python$version-minimal libpython$version-minimal \
    libpython$version-stdlib libc6 libstdc++6 libgcc-s1 zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 \
    liblzma5 libuuid1 libsqlite3-0 >/dev/null) || fail "downloading Debian's arm64 Python failed"
for package in "$folder"/debs/*.deb; do
    dpkg-deb --extract "$package" "$folder/root"
done
[ -e "$folder/root/lib" ] || ln -s usr/lib "$folder/root/lib"

# ONNX Runtime reads what CPU it is on from files, where qemu would show it this machine's.
mkdir -p "$folder/root/proc" "$folder/root/sys/devices/system/cpu"
echo 0 >"$folder/root/sys/devices/system/cpu/possible"
echo 0 >"$folder/root/sys/devices/system/cpu/present"

for platform in 2_17 2_24 2_26 2_27 2_28 2_31; do
    platforms="${platforms:-} --platform manylinux_${platform}_aarch64"
done
# shellcheck disable=SC2086
$pip install --quiet --disable-pip-version-check --no-warn-conflicts --target "$folder/site" \
    --only-binary=:all: --implementation cp --python-version $version $platforms \
    --platform manylinux2014_aarch64 $packages 2>"$folder/pip.log" ||
    fail "pip could not install the aarch64 wheels: $(tail -n 1 "$folder/pip.log")"

cat >"$folder/python" <<EOF
#!/bin/sh
cpu=\${CPU:-cortex-a72}
case \$cpu in
cortex-a53) part=0xd03 features="fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid" ;;
cortex-a72) part=0xd08 features="fp asimd evtstrm crc32 cpuid" ;;
cortex-a76) part=0xd0b features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp" ;;
*) echo "unknown CPU \$cpu: cortex-a53, cortex-a72 or cortex-a76" >&2; exit 2 ;;
esac
printf 'processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 3\n\n' \
    "\$features" "\$part" >"$folder/root/proc/cpuinfo"
exec env -i PATH=/usr/bin:/bin HOME="$folder" QEMU_LD_PREFIX="$folder/root" \
    PYTHONHOME="$folder/root/usr" PYTHONPATH="$folder/site\${PYTHONPATH:+:\$PYTHONPATH}" \
    qemu-aarch64-static -cpu "\$cpu" -L "$folder/root" \
    "$folder/root/usr/bin/python$version" "\$@"
EOF
chmod +x "$folder/python"
