#!/bin/bash
# facts.sh PROJECT: what this box is and has, as one JSON document, in one go.
STEP=facts
. "${0%/*}/lib.sh"
trap - ERR
project=$1

nix=null env=null script=null generation=0 print=null paths=0 bytes=0
if version=$(nix-store --version 2>&1); then
  nix=$(json "${version##* }")
  # Without the script that enters it an environment is not current yet.
  if link=$(readlink "$profiles/$project") && target=$(readlink -f "$profiles/$project") &&
    [[ -r $shells/${target##*/}.sh ]]; then
    env=$(json "$target")
    script=$(json "$(sha256sum <"$shells/${target##*/}.sh" | cut -d' ' -f1)")
    generation=${link%-link}
    generation=${generation##*-}
    if read -r paths bytes sum < <(fingerprint "$target"); then
      print=$(json "$sum")
    fi
  fi
fi
status='{"steps":[]}'
[[ ! -e $run/status.json ]] || status=$(<"$run/status.json")
target=$(systemctl show --property=ActiveState --value devbox.target)
# What is on its way up is inactive too, and has a job.
[[ $target != inactive || -n $(systemctl list-jobs --no-legend 'devbox*') ]] || target=stopped

# What Nix does not pin. A file of the kernel's for each GPU: `Model: 		 NVIDIA GH200 480GB`.
card=null state=none
[[ ! -r $run/driver ]] || state=$(<"$run/driver")
if [[ -r $driver/version ]]; then
  gpus=''
  for file in "$driver"/gpus/*/information; do
    [[ -r $file ]] || continue
    model=$(sed -nE 's/^Model:[[:space:]]*//p' "$file")
    gpus+=${gpus:+,}$(json "$model")
  done
  card="{\"version\":$(json "$(driver_version "$driver/version")"),\"state\":$(json "$state"),\"gpus\":[$gpus]}"
elif [[ $state == unloaded ]]; then
  card='{"version":null,"state":"unloaded","gpus":[]}'
fi

printf '{"boot":%s,"uptime":%s,"launch":%s,"machine":%s,"kernel":%s,"nix":%s,"target":%s,"status":%s,' \
  "$(json "$(cat /proc/sys/kernel/random/boot_id)")" "$(uptime_s)" "$(json "$DEVBOX_LAUNCH")" \
  "$(json "$(uname -m)")" "$(json "$(uname -r)")" "$nix" "$(json "$target")" "$status"
room=0 errors=null
if mountpoint -q /nix && ! why=$(store_errors); then errors=$(json "$why"); fi
if mountpoint -q /nix && mountpoint -q "$DEVBOX_VOLUME"; then
  # What fits: the image may promise more than the volume has.
  for place in /nix "$DEVBOX_VOLUME"; do
    free=$(df --output=avail --block-size=1 "$place" | tail -n 1)
    ((room > 0 && room < free)) || room=$free
  done
fi
printf '"room":%d,"errors":%s,"page-size":%d,"driver":%s,' "$room" "$errors" "$(getconf PAGESIZE)" "$card"
checks=null
[[ ! -r $run/checks/$project.json ]] || checks=$(<"$run/checks/$project.json")
printf '"checks":%s,' "$checks"
printf '"environment":%s,"script":%s,"generation":%d,"fingerprint":%s,"paths":%d,"bytes":%d}\n' \
  "$env" "$script" "$generation" "$print" "$paths" "$bytes"
