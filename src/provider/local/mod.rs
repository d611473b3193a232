//! Boxes on this Linux machine: systemd-nspawn, the real cloud-init, a folder as the volume.
