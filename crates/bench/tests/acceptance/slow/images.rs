//! A disk image goes in and comes out, byte for byte.

use std::fs;

use crate::{
    site::Site,
    tools::ok,
    tree::{assert_same, fill},
};

const TREE_BYTES: u64 = 192 << 20;

/// A file system of 1 GiB with files of this machine.
fn make_image(site: &Site) -> String {
    fs::create_dir(site.path("tree")).unwrap();
    fill(&site.path("tree"), TREE_BYTES);
    let image = site.file("image.raw");
    ok("mke2fs", &["-q", "-t", "ext4", "-d", &site.file("tree"), &image, "1G"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    image
}

#[test]
fn an_image_comes_back_by_nbdcopy_and_qemu_img_also_without_the_local_directory() {
    let mut site = Site::start(&["copied=1G", "converted=1G"]);
    let image = make_image(&site);
    let (copied, converted) = (site.uri("copied"), site.uri("converted"));
    ok("nbdcopy", &["--connections=4", &image, &copied]);
    let qcow2 = site.file("image.qcow2");
    ok("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &image, &qcow2]);
    ok("qemu-img", &["convert", "-n", "-f", "qcow2", "-O", "raw", &qcow2, &converted]);

    for moved in [false, true] {
        if moved {
            site.move_house();
        }
        let out = site.file("out.raw");
        ok("nbdcopy", &["--connections=4", &copied, &out]);
        assert_same(image.as_ref(), out.as_ref());
        fs::remove_file(&out).unwrap();
        ok("qemu-img", &["compare", "-f", "raw", "-F", "raw", &image, &copied]);
        ok("qemu-img", &["compare", "-f", "qcow2", "-F", "raw", &qcow2, &converted]);
    }
    site.finish();
}
