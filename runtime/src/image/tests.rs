use std::collections::BTreeMap;
use std::io::Cursor;

use super::*;

/// Smallest ELF file the checks read: a header and program headers of these types.
fn elf(machine: u16, segments: &[u32]) -> Vec<u8> {
    let mut file = vec![0; 64 + 56 * segments.len()];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[18..20].copy_from_slice(&machine.to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[54..56].copy_from_slice(&56u16.to_le_bytes());
    file[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
    let name_at = file.len() as u64;
    for (index, kind) in segments.iter().enumerate() {
        let at = 64 + 56 * index;
        file[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&name_at.to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&11u64.to_le_bytes());
    }
    file.extend_from_slice(b"/lib/ld.so\0");
    file
}

fn built(binary: &[u8]) -> (ImageReference, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let (path, out) = (directory.path().join("bin"), directory.path().join("out"));
    std::fs::write(&path, binary).unwrap();
    let reference = ImageArchive::build(&path, &out).unwrap();
    assert_eq!(reference, ImageArchive::reference(&path).unwrap());
    (reference, std::fs::read(out).unwrap())
}

fn entries(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
    tar::Archive::new(Cursor::new(archive))
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            assert_eq!(entry.header().mtime().unwrap(), 0, "{path}");
            assert_eq!(entry.header().uid().unwrap(), 0, "{path}");
            let mode = entry.header().mode().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, (mode, content))
        })
        .collect()
}

#[test]
fn the_archive_is_consistent_and_holds_the_binary() {
    let binary = elf(62, &[1, 2]);
    let (reference, archive) = built(&binary);
    let files = entries(&archive);
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"].1).unwrap();
    let manifest = &manifest[0];
    assert_eq!(manifest["RepoTags"][0], reference.as_str());
    let digest = hex(&Sha256::digest(&binary));
    assert_eq!(
        reference.as_str(),
        format!(
            "localhost/skupper:{}-{}",
            model::PRODUCT_VERSION,
            &digest[..12]
        )
    );
    let config = &files[manifest["Config"].as_str().unwrap()].1;
    assert_eq!(
        manifest["Config"],
        format!("{}.json", hex(&Sha256::digest(config)))
    );
    let config: serde_json::Value = serde_json::from_slice(config).unwrap();
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["config"]["Labels"]["application"], "skupper");
    let layer = &files[manifest["Layers"][0].as_str().unwrap()].1;
    assert_eq!(
        config["rootfs"]["diff_ids"][0],
        format!("sha256:{}", hex(&Sha256::digest(layer)))
    );
    let root = entries(layer);
    assert_eq!(root["skupper"], (0o755, binary));
    assert_eq!(root["tmp/"].0, 0o1777);
    assert!(root["etc/nsswitch.conf"].1.ends_with(b"hosts: files dns\n"));
}

#[test]
fn the_same_binary_gives_the_same_bytes_and_another_another_reference() {
    let (first, archive) = built(&elf(183, &[1]));
    let (second, again) = built(&elf(183, &[1]));
    assert_eq!((&first, &archive), (&second, &again));
    let (other, _) = built(&elf(183, &[1, 1]));
    assert_ne!(first, other);
}

#[test]
fn binaries_that_could_not_run_in_an_empty_image_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bin");
    let mut truncated = elf(62, &[1]);
    truncated.truncate(80);
    let mut narrow = elf(62, &[]);
    narrow[4] = 1;
    for (content, reason) in [
        (elf(62, &[1, 3]), "it needs the loader /lib/ld.so"),
        (elf(2, &[1]), "processor is not supported"),
        (narrow, "not for a 64-bit"),
        (truncated, "ends within its headers"),
        (b"#!/bin/sh\nexit 0\n".repeat(8), "no ELF file"),
        (Vec::new(), "ends within its headers"),
    ] {
        std::fs::write(&path, content).unwrap();
        let out = directory.path().join("out");
        let error = ImageArchive::build(&path, &out).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!out.exists());
    }
    let error = ImageArchive::reference(&directory.path().join("missing")).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}
