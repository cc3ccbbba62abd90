#!/usr/bin/env bash
# Fuzzing, guided by coverage: libFuzzer on the kernels (fuzz/kernels), compiled with AddressSanitizer and
# UndefinedBehaviorSanitizer, and atheris, which is libFuzzer for Python, on the readers of files (fuzz/readers).
#
#     apt install clang make && pip install -e ".[fuzz]"
#     fuzz/run.sh 60                       # every target for 60 seconds
#     fuzz/run.sh 3600 paste poses_coco    # only these
#
# It ends at the first finding, whose input is then in build/fuzz; the target runs it again when it is the only
# argument. What has not been seen before is in build/fuzz/corpus; to keep of it in git what covers more:
#
#     build/fuzz/paste -merge=1 fuzz/corpus/paste build/fuzz/corpus/paste
#     python fuzz/readers/poses_coco.py -merge=1 fuzz/corpus/poses_coco build/fuzz/corpus/poses_coco
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
targets=("${@:2}")

skipped() { echo "The fuzzers of the $1 are skipped: $2"; }

names() { for file in "$@"; do basename "${file%.*}"; done; }

run() {  # TARGET COMMAND...
    [ ${#targets[@]} = 0 ] || [[ " ${targets[*]} " == *" $1 "* ]] || return 0
    echo "== $1"
    mkdir -p "build/fuzz/corpus/$1" "fuzz/corpus/$1"
    # A slow machine must not count as a finding, so each input has a minute.
    "${@:2}" -max_total_time="$seconds" -len_control=0 -timeout=60 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$1-" "build/fuzz/corpus/$1" "fuzz/corpus/$1"
}

kernels() {
    if ! command -v clang++ > /dev/null; then
        skipped kernels "clang++ was not found (apt install clang)"
    elif ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }' |
        clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null 2> /dev/null; then
        skipped kernels "this clang++ has no libFuzzer (apt install libclang-rt-dev)"
    else
        make --silent --directory fuzz --jobs "$(nproc)"
        for target in $(names fuzz/kernels/*.cpp); do run "$target" "build/fuzz/$target" -max_len=512; done
    fi
}

readers() {
    if ! python -c "import atheris" 2> /dev/null; then
        skipped readers 'atheris was not found (pip install -e ".[fuzz]")'
    else
        for target in $(names $(grep --files-with-matches '^fuzz(' fuzz/readers/*.py)); do
            run "$target" python "fuzz/readers/$target.py"
        done
    fi
}

kernels & # while the readers run
readers
wait $!
