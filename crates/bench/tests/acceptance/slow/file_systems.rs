//! File systems of the kernel on a volume.

use std::fs;

use serde_json::Value;

use crate::{
    device::Device,
    site::Site,
    tools::{ok, root},
    tree::{digest, fill},
};

const TREE_BYTES: u64 = 64 << 20;

/// A command and its arguments before the device.
type Tool = &'static [&'static str];

fn on_device(tool: Tool, device: &Device) {
    root(tool[0], &[&tool[1..], &[&device.node]].concat());
}

/// Bytes of an export that are neither holes nor zeros.
fn data_bytes(uri: &str) -> u64 {
    let map = ok("nbdinfo", &["--map", "--json", uri]);
    let map: Value = serde_json::from_str(&map).unwrap();
    let extents = map.as_array().unwrap().iter();
    extents.filter(|extent| extent["type"] == 0).map(|extent| extent["length"].as_u64().unwrap()).sum()
}

/// Makes a file system, fills it, finds it whole on a new device, empties it, and finds the space given back.
fn lives(make: Tool, check: Tool) {
    let mut site = Site::start(&["disk=1G"]);
    let uri = site.uri("disk");
    let device = Device::attach(&uri);
    on_device(make, &device);
    device.mount();
    fill(&device.mounted(), TREE_BYTES);
    let written = digest(&device.mounted());
    device.unmount();
    on_device(check, &device);
    // A new device has nothing in the kernel's caches; a new daemon nothing in its own.
    device.detach();
    site.move_house();

    let device = Device::attach(&uri);
    device.mount();
    assert!(written == digest(&device.mounted()), "a file is not as it was written");
    let full = data_bytes(&uri);
    fs::remove_dir_all(device.mounted().join("usr")).unwrap();
    root("sync", &["--file-system", &device.mounted().display().to_string()]);
    root("fstrim", &[&device.mounted().display().to_string()]);
    device.unmount();
    on_device(check, &device);
    device.detach();
    let empty = data_bytes(&uri);
    assert!(
        full > TREE_BYTES / 2 && empty < full / 3,
        "{full} bytes of data before the files were removed and trimmed, {empty} after"
    );
    site.finish();
}

#[test]
fn ext4_lives_on_a_volume() {
    lives(&["mkfs.ext4", "-q", "-F"], &["e2fsck", "-f", "-n"]);
}

#[test]
fn xfs_lives_on_a_volume() {
    lives(&["mkfs.xfs", "-q", "-f"], &["xfs_repair", "-n"]);
}

#[test]
fn btrfs_lives_on_a_volume() {
    lives(&["mkfs.btrfs", "-q", "-f"], &["btrfs", "check", "--check-data-csum"]);
}
