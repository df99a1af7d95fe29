use std::fs;

use super::*;

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(bytes, level)
}

fn content() -> Vec<u8> {
    format!("some text\nand {}\n{}", needle(), "filler ".repeat(300)).into_bytes()
}

/// A zip of several members, for damage.
pub(crate) fn zipped() -> Vec<u8> {
    zip(false, &[("dir/notes.txt", &content())])
}

/// A pack of one object, for damage.
pub(crate) fn packed() -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01\x34".to_vec();
    pack.extend(zlib(b"text"));
    pack.extend([7; 20]);
    pack
}

/// What the fixtures of this name hold.
fn text_of(name: &str) -> Vec<u8> {
    match name {
        "content" => content(),
        "head" => content()[..30].to_vec(),
        "tail" => content()[30..].to_vec(),
        "noise" => noise(5000),
        other => other.as_bytes().to_vec(),
    }
}

/// The text of this name in each compressed form, with the name of the form.
fn compressed(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let text = text_of(name);
    let made = [
        ("gzip", gzip(&text)),
        ("zlib", zlib(&text)),
        ("zstd", zstd(&text)),
    ];
    let fixtures = [
        ("bzip2", "bz2"),
        ("xz", "xz"),
        ("xz", "sha256.xz"),
        ("lzma", "lzma"),
    ];
    let fixtures = fixtures.map(|(form, end)| (form, fixture(&format!("{name}.{end}"))));
    made.into_iter().chain(fixtures).collect()
}

#[test]
fn compressed_files_are_opened_whatever_they_are_called() {
    for (form, bytes) in compressed("content") {
        let seen = seen(&bytes);
        assert_eq!(
            seen.place(&needle()),
            Some((format!("({form}) text"), 2)),
            "{form}"
        );
    }
}

#[test]
fn lzma_is_opened_with_any_properties_and_what_follows_it() {
    for properties in ["lc4", "lp4", "pb0"] {
        let bytes = fixture(&format!("content.{properties}.lzma"));
        assert_eq!(
            seen(&bytes).place(&needle()),
            Some(("(lzma) text".to_owned(), 2)),
            "{properties}"
        );
    }
    finds(&[fixture("innocent.lzma"), gzip(&content())].concat());
}

#[test]
fn skippable_frames_hide_no_format() {
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc".repeat(2);
    // A frame with a window of 2 GiB, as `zstd --long=31` writes it.
    let wide = b"\x28\xb5\x2f\xfd\0\xa8\x09\0\0x";
    for (bytes, problem) in [
        (&wide[..], "cannot be opened"),
        (b"\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0", "LZ4"),
    ] {
        assert!(refuses(bytes).contains(problem));
        assert!(refuses(&[&skippable, bytes].concat()).contains(problem));
        let behind = [&zstd(b"innocent"), &skippable[..], bytes].concat();
        assert!(problem == "LZ4" || refuses(&behind).contains(problem));
    }
    finds(&[skippable, zstd(&content())].concat());
}

#[test]
fn concatenated_streams_are_one_text() {
    for ((form, head), (_, tail)) in compressed("head").into_iter().zip(compressed("tail")) {
        if matches!(form, "lzma" | "zlib") {
            continue;
        }
        assert!(seen(&[head, tail].concat()).holds(&needle()), "{form}");
    }
}

#[test]
fn data_around_a_compressed_file_hides_nothing() {
    for (form, bytes) in compressed("content") {
        if matches!(form, "lzma" | "zlib") {
            continue;
        }
        let before = [b"\xffjunk in front\n", bytes.as_slice()].concat();
        assert!(seen(&before).holds(&needle()), "{form} behind junk");
        let packed: Vec<u8> = compressed("innocent")
            .into_iter()
            .find_map(|(other, bytes)| (other == form).then_some(bytes))
            .unwrap();
        let after = [packed.as_slice(), b"\0\0\0junk\0", &bytes].concat();
        assert!(
            seen(&after).holds(&needle()),
            "{form} behind another and junk"
        );
        let appended = [packed.as_slice(), needle().as_bytes()].concat();
        assert!(seen(&appended).holds(&needle()), "text behind {form}");
    }
}

#[test]
fn the_fields_of_a_gzip_header_are_read() {
    let builder = flate2::GzBuilder::new()
        .filename("notes.txt")
        .comment(needle());
    let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"nothing").unwrap();
    let seen = seen(&encoder.finish().unwrap());
    assert!(seen.holds(&needle()));
    assert!(
        seen.0
            .iter()
            .any(|(member, _, _)| member.name() == Some("notes.txt"))
    );
}

#[test]
fn zips_are_opened_in_each_method() {
    let file = [("dir/notes.txt", &content()[..])];
    for (method, bytes) in [
        ("stored", zip(true, &file)),
        ("deflate", zip(false, &file)),
        ("bzip2", fixture("content.bzip2.zip")),
        ("lzma", fixture("content.lzma.zip")),
    ] {
        let place = seen(&bytes).place(&needle());
        assert_eq!(
            place,
            Some(("dir/notes.txt text".to_owned(), 2)),
            "{method}"
        );
        let behind = [b"#!/bin/sh\nexit\0\n", bytes.as_slice()].concat();
        finds(&behind);
        let before = [bytes.as_slice(), &vec![0; 70_000]].concat();
        finds(&before);
    }
}

#[test]
fn a_streamed_zip_is_opened() {
    finds(&fixture("streamed.zip"));
}

#[test]
fn the_names_and_comments_of_a_zip_are_read() {
    finds(&zip(false, &[(&needle(), b"x")]));
    finds(&fixture("member-comment.zip.gz"));
    finds(&fixture("comment.zip.gz"));
}

#[test]
fn members_that_no_directory_lists_are_opened() {
    let hidden = zip(false, &[("hidden", &content())]);
    let listed = zip(false, &[("listed", b"innocent")]);
    let end = memchr::memmem::find(&hidden, b"PK\x01\x02").unwrap();
    // Between the start and the zip that the end record describes.
    finds(&[&hidden[..end], listed.as_slice()].concat());
    // Two members of the same name: a reader by name sees only one.
    finds(&fixture("twice.zip"));
}

#[test]
fn a_zip_that_is_read_in_two_ways_is_refused() {
    let bytes = zip(false, &[("notes.txt", &content())]);
    let mut stored = bytes.clone();
    let directory = memchr::memmem::find(&bytes, b"PK\x01\x02").unwrap();
    stored[directory + 10] = 0;
    assert!(refuses(&stored).contains("disagree"));
    let mut renamed = bytes;
    renamed[30] = b'x';
    assert!(refuses(&renamed).contains("disagree"));
}

#[test]
fn tars_are_opened_with_their_names() {
    let long = format!("{}/{}", "deep/".repeat(40), needle());
    finds(&gzip(&tar(&[(&long, b"x")])));
    let seen = seen(&gzip(&tar(&[("a", b"x"), ("dir/notes.txt", &content())])));
    let place = Some(("(gzip)!dir/notes.txt text".to_owned(), 2));
    assert_eq!(seen.place(&needle()), place);
    for format in ["ustar", "gnu", "pax"] {
        finds(&fixture(&format!("name-{format}.tar.bz2")));
    }
}

#[test]
fn a_tar_behind_a_tar_is_opened() {
    let wide: Vec<u8> = needle().encode_utf16().flat_map(u16::to_be_bytes).collect();
    finds(&[tar(&[("a", b"x")]), tar(&[("b", &gzip(&wide))])].concat());
}

#[test]
fn packs_and_bundles_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C"])
            .arg(folder.path())
            .args(["-c", "user.name=n", "-c", "user.email=e@example.invalid"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    git(&["init", "-q", "-b", "main", "."]);
    // Two versions of a file, so that one becomes a delta and no object holds the secret alone.
    let filler: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    fs::write(folder.path().join("a"), &filler).unwrap();
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    fs::write(
        folder.path().join("a"),
        format!("{filler}{}\n{filler}", needle()),
    )
    .unwrap();
    git(&["commit", "-qam", "two"]);
    git(&["bundle", "create", "-q", "all.bundle", "main"]);
    let bundle = fs::read(folder.path().join("all.bundle")).unwrap();
    finds(&bundle);
    let start = memchr::memmem::find(&bundle, b"PACK\0").unwrap();
    finds(&bundle[start..]);
    // As `git pack-objects` writes it of itself: each delta names its base.
    fs::write(
        folder.path().join("ids"),
        git(&["rev-list", "--objects", "--no-object-names", "main"]),
    )
    .unwrap();
    let sh = Command::new("sh")
        .args(["-c", "git pack-objects -q --stdout --depth=50 < ids"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(sh.status.success());
    finds(&sh.stdout);
    let mut broken = bundle[start..].to_vec();
    broken.truncate(broken.len() - 30);
    assert!(refuses(&broken).contains("git pack"));
    let changed = format!("{filler}{}\n{filler}changed\n", needle());
    fs::write(folder.path().join("a"), changed).unwrap();
    git(&["commit", "-qam", "three"]);
    git(&["bundle", "create", "-q", "thin.bundle", "main~1..main"]);
    let thin = fs::read(folder.path().join("thin.bundle")).unwrap();
    assert!(refuses(&thin).contains("cannot be scanned"));
    finds(&zlib(format!("blob 9\0{}", needle()).as_bytes()));
}

#[test]
fn nested_archives_are_opened() {
    let mut bytes = content();
    bytes = zip(false, &[("a.txt", &bytes)]);
    bytes = gzip(&tar(&[("b.jar", &bytes)]));
    let place = Some(("(gzip)!b.jar!a.txt text".to_owned(), 2));
    assert_eq!(seen(&bytes).place(&needle()), place);
}

#[test]
fn what_cannot_be_opened_is_refused_with_its_place() {
    for (form, bytes) in compressed("noise") {
        if matches!(form, "lzma" | "zlib") {
            continue;
        }
        let text = refuses(&bytes[..bytes.len() - bytes.len() / 4]);
        assert!(text.contains("cannot be scanned"), "{form}: {text}");
    }
    let zip = zip(false, &[("dir/notes.txt", &noise(5000))]);
    assert!(refuses(&zip[..zip.len() / 2]).contains("truncated"));
    let mut encrypted = zip.clone();
    let directory = memchr::memmem::find(&zip, b"PK\x01\x02").unwrap();
    encrypted[6] |= 1;
    encrypted[directory + 8] |= 1;
    assert!(refuses(&encrypted).contains("in it, dir/notes.txt cannot be scanned"));
    let mut unknown = zip;
    unknown[8] = 97;
    unknown[directory + 10] = 97;
    assert!(refuses(&unknown).contains("method 97"));
    assert!(refuses(b"7z\xbc\xaf\x27\x1c\0\x04").contains("7z"));
    let tar = tar(&[("a", &noise(5000))]);
    assert!(refuses(&tar[..3000]).contains("truncated"));
    assert!(refuses(&gzip(&tar[..3000])).contains("(gzip)!a"));
}

#[test]
fn an_encrypted_document_is_a_container_that_nobody_can_open() {
    let pdf =
        |trailer: &str| format!("%PDF-1.7\n%\u{e2}\n1 0 obj\n<<>>\nendobj\ntrailer\n{trailer}\n");
    for encrypted in [
        "<< /Size 9 /Encrypt 7 0 R >>",
        "<</Encrypt<</Filter/Standard>>>>",
    ] {
        assert!(
            refuses(pdf(encrypted).as_bytes()).contains("encrypted PDF"),
            "{encrypted}"
        );
    }
    finds(pdf(&format!("<< /Title (on /Encryption, {}) >>", needle())).as_bytes());
    let wide = |name: &str| {
        name.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<_>>()
    };
    let compound = |stream| {
        let sector = [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0; 1016]].concat();
        [sector, wide(stream), noise(900)].concat()
    };
    assert!(refuses(&compound("EncryptedPackage")).contains("encrypted Office"));
    seen(&compound("WordDocument"));
    let manifest = |entry: &str| {
        let xml = format!("<?xml version=\"1.0\"?><manifest:manifest>{entry}</manifest:manifest>");
        zip(false, &[("META-INF/manifest.xml", xml.as_bytes())])
    };
    let told = refuses(&manifest("<manifest:encryption-data/>"));
    assert!(told.contains("encrypted OpenDocument"), "{told}");
    seen(&manifest("<manifest:file-entry/>"));
}

#[test]
fn what_cannot_be_opened_is_still_read_as_bytes() {
    let name = format!("{}.txt", needle());
    let mut bytes = zip(true, &[(&name, b"x")]);
    let directory = memchr::memmem::find(&bytes, b"PK\x01\x02").unwrap();
    bytes[6] |= 1;
    bytes[directory + 8] |= 1;
    for bytes in [gzip(&bytes), bytes] {
        let (seen, result) = seen_within(&bytes, &Limits::default());
        assert!(matches!(result, Err(DecodeError::Unscannable { .. })));
        assert!(seen.holds(&needle()));
    }
}

#[test]
fn what_stands_beside_something_closed_is_opened() {
    let mut closed = zip(false, &[("closed", b"x"), ("open", &content())]);
    let directory = memchr::memmem::find(&closed, b"PK\x01\x02").unwrap();
    closed[6] |= 1;
    closed[directory + 8] |= 1;
    let tar = tar(&[
        ("a.7z", b"7z\xbc\xaf\x27\x1c\0\x04"),
        ("b.gz", &gzip(&content())),
    ]);
    for bytes in [closed, tar] {
        let (seen, result) = seen_within(&bytes, &Limits::default());
        assert!(matches!(result, Err(DecodeError::Unscannable { .. })));
        assert!(seen.holds(&needle()));
    }
}

#[test]
fn bytes_that_only_begin_like_an_archive_are_strings() {
    for magic in [
        &b"\x1f\x8b"[..],
        b"\x1f\x8b\x08\xff",
        b"BZh9",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x28\xb5\x2f\xfd\xff",
        b"x\x9c",
        b"]\0\0",
        b"PACK\0\0\0\x09",
    ] {
        let bytes = [magic, &[0, 0xff, 0][..], needle().as_bytes(), &[0]].concat();
        let (seen, result) = seen_within(&bytes, &Limits::default());
        assert!(seen.holds(&needle()), "{magic:?}");
        assert!(result.is_ok(), "{magic:?}: {result:?}");
    }
}

#[test]
fn magic_numbers_in_a_program_refuse_nothing() {
    let program = [
        &b"\x7fELF"[..],
        &noise(3000),
        b"\x1f\x8b\x08\0\xfd7zXZ\0BZh91AY&SY\x28\xb5\x2f\xfd\0PK\x03\x04PK\x05\x06PACK\0\0\0\x02",
        &noise(3000),
        &fs::read("/usr/bin/env").unwrap(),
    ];
    let (_, result) = seen_within(&program.concat(), &Limits::default());
    result.unwrap();
}
