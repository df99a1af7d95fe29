use std::io::{self, Read};
use std::path::Path;

use super::*;

fn bound(bytes: &[u8], limits: &Limits) -> &'static str {
    match seen_within(bytes, limits).1 {
        Err(DecodeError::Bound { setting, .. }) => setting,
        other => panic!("no bound was hit: {other:?}"),
    }
}

#[test]
fn each_bound_is_named() {
    let limits = Limits {
        archive_entries: 20,
        archive_size: 3 << 20,
        ..Limits::default()
    };
    let many: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let files: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    assert_eq!(bound(&tar(&files), &limits), "archiveEntries");
    assert_eq!(bound(&gzip(&noise(4 << 20)), &limits), "archiveSize");
    let mut nested = b"x".to_vec();
    for _ in 0..5 {
        nested = gzip(&nested);
    }
    assert_eq!(bound(&nested, &limits), "archiveDepth");
    let error = seen_within(&nested, &limits).1.unwrap_err().to_string();
    assert!(error.contains("git-gate.archiveDepth"), "{error}");
    let ratio = Limits {
        archive_ratio: 100,
        ..Limits::default()
    };
    assert_eq!(bound(&gzip(&vec![0; 20 << 20]), &ratio), "archiveRatio");
    assert_eq!(
        bound(&zip(false, &[("a", &vec![0; 20 << 20])]), &ratio),
        "archiveRatio"
    );
}

#[test]
fn the_bounds_hold_for_the_whole_push() {
    let limits = Limits {
        archive_size: 3 << 20,
        ..Limits::default()
    };
    let mut budget = super::budget(&limits);
    let bytes = gzip(&noise(2 << 20));
    views(Content::Bytes(&bytes), &mut budget, &mut Seen::default()).unwrap();
    let second = views(Content::Bytes(&bytes), &mut budget, &mut Seen::default());
    assert!(matches!(
        second,
        Err(DecodeError::Bound {
            setting: "archiveSize",
            ..
        })
    ));
}

#[test]
fn a_first_mebibyte_may_have_any_ratio() {
    seen(&gzip(&vec![0; 1 << 20]));
}

#[test]
fn bombs_end_early() {
    let mut level = gzip(&vec![0; 8 << 20]);
    for _ in 0..3 {
        let names: Vec<String> = (0..16).map(|n| n.to_string()).collect();
        let files: Vec<_> = names.iter().map(|name| (&name[..], &level[..])).collect();
        level = zip(false, &files);
    }
    bound(&level, &Limits::default());
}

#[test]
fn a_million_entries_are_refused() {
    const COUNT: u64 = 200_000;
    let one = zip(true, &[("a", b"")]);
    let (local, entry) = (&one[..31], &one[31..78]);
    let body = [local, &entry.repeat(COUNT as usize)].concat();
    // The end of a zip64 (APPNOTE 4.3.14 to 4.3.16).
    let mut end = [
        &b"PK\x06\x06"[..],
        &44_u64.to_le_bytes(),
        &[45, 0, 45, 0],
        &[0; 8],
    ]
    .concat();
    for value in [COUNT, COUNT, COUNT * entry.len() as u64, local.len() as u64] {
        end.extend(value.to_le_bytes());
    }
    let start = (body.len() as u64).to_le_bytes();
    end.extend([&b"PK\x06\x07\0\0\0\0"[..], &start, &[1, 0, 0, 0]].concat());
    end.extend([&b"PK\x05\x06\0\0\0\0"[..], &[0xff; 12], &[0, 0]].concat());
    let limits = Limits {
        archive_entries: 1000,
        ..Limits::default()
    };
    assert_eq!(bound(&[body, end].concat(), &limits), "archiveEntries");
}

#[test]
fn many_false_starts_are_an_error_and_not_a_wait() {
    let limits = Limits {
        archive_entries: 1000,
        ..Limits::default()
    };
    let bytes = [b"\xff\0", b"\x1f\x8b\x08\0\xff\xff".repeat(2000).as_slice()].concat();
    assert_eq!(bound(&bytes, &limits), "archiveEntries");
}

#[test]
fn false_starts_that_each_read_all_that_follows_are_an_error_and_not_a_wait() {
    let limits = Limits {
        archive_size: 1 << 20,
        ..Limits::default()
    };
    let head = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    // A stored block with the next head, then blocks with nothing in them.
    let stored = [b"\0\x0b\0\xf4\xff\xff", &head[..]].concat();
    let blocks = [&stored[..], &b"\0\0\0\xff\xff".repeat(20)].concat();
    let bytes = [b"\xff\0", &head[..], &blocks.repeat(280)].concat();
    assert_eq!(bound(&bytes, &limits), "archiveSize");
}

#[test]
fn what_describes_a_tars_members_is_counted_and_bounded() {
    let limits = Limits {
        archive_entries: 1000,
        archive_size: 3 << 20,
        ..Limits::default()
    };
    let extension = |kind: u8, size: u64| {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    // The library takes them one by one and gives no member.
    let mut many = tar(&[("a", b"x")]);
    many.truncate(1024);
    (0..2000).for_each(|_| many.extend(extension(b'L', 0)));
    assert_eq!(bound(&many, &limits), "archiveEntries");
    let mut long = extension(b'x', 900 << 10);
    long.extend(vec![b' '; 900 << 10]);
    assert_eq!(bound(&long.repeat(4), &limits), "archiveSize");
    assert!(refuses(&extension(b'K', 2 << 20)).contains("over 1 MiB"));

    let mut lists = extension(b'S', 0);
    lists[482] = 1;
    let sum: u32 = (0..148)
        .chain(156..512)
        .map(|at| u32::from(lists[at]))
        .sum();
    lists[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
    let mut list = vec![0; 512];
    list[504] = 1;
    lists.extend(list.repeat(5000));
    assert!(refuses(&lists).contains("too many holes"));
}

#[test]
fn a_decoder_takes_no_larger_dictionary_than_the_limit() {
    // Each header asks for the most that its format can state; no data is needed to refuse it.
    let lzip = [&b"LZIP\x01\x1d"[..], &[0; 100]].concat();
    assert!(refuses(&lzip).contains("dictionary"), "lzip");
    let xz = xz_with_dictionary(40);
    assert!(refuses(&xz).contains("memory"), "xz");
    let zstd = [&b"\x28\xb5\x2f\xfd\x00\xff"[..], &[0; 100]].concat();
    assert!(
        refuses(&zstd).contains("zstd data cannot be opened"),
        "zstd"
    );
    // Not the size of its dictionary, but the number of its bits is wrong in a zip's lzma.
    let mut zip = fixture("noise.lzma.zip");
    let data = 30 + 1;
    assert_eq!(zip[data + 2..data + 4], [5, 0]);
    zip[data + 5..data + 9].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refuses(&zip).contains("damaged"), "zip");
}

/// An xz file whose block states the dictionary size `code` (xz's file format, 3.1 and 5.3.1).
fn xz_with_dictionary(code: u8) -> Vec<u8> {
    let mut xz = fixture("content.xz");
    let end = 12 + (usize::from(xz[12]) + 1) * 4;
    let filter = memchr::memmem::find(&xz[12..end], b"\x21\x01").unwrap();
    xz[12 + filter + 2] = code;
    let mut sum = flate2::Crc::new();
    sum.update(&xz[12..end - 4]);
    xz[end - 4..end].copy_from_slice(&sum.sum().to_le_bytes());
    xz
}

#[test]
fn many_end_records_are_counted_before_they_are_kept() {
    let limits = Limits {
        archive_entries: 1000,
        ..Limits::default()
    };
    let bytes = [&b"\0\xff"[..], &b"PK\x05\x06".repeat(2000)].concat();
    assert_eq!(bound(&bytes, &limits), "archiveEntries");
}

/// Lines of text, made as they are read.
struct Lines {
    left: u64,
    /// What stands between the lines.
    end: u8,
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(usize::try_from(self.left).unwrap());
        for line in out[..n].chunks_mut(64) {
            line.fill(b'.');
            line[0] = self.end;
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// Counts and forgets.
#[derive(Default)]
struct Counter(u64);

impl Sink for Counter {
    fn text(&mut self, _: &Member, _: u64, text: &[u8]) -> Result<(), SinkError> {
        self.0 += text.len() as u64;
        Ok(())
    }
}

/// The most memory that this process has used, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs itself again in a process of its own, since the peak of this one is every test's.
#[test]
fn memory_stays_bounded_whatever_the_size() {
    const CHILD: &str = "GIT_GATE_TEST_MEMORY";
    const SIZE: u64 = 16 << 20;
    if std::env::var_os(CHILD).is_none() {
        let name = "scan::decode::tests::bounds::memory_stays_bounded_whatever_the_size";
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let before = peak();
    for end in [b'\n', 0] {
        let mut counter = Counter::default();
        let mut lines = Lines { left: SIZE, end };
        let mut budget = super::budget(&Limits::default());
        views(Content::Stream(&mut lines), &mut budget, &mut counter).unwrap();
        assert!(counter.0 >= SIZE - (1 << 20), "only {} bytes", counter.0);
    }
    let growth = peak() - before;
    assert!(growth < 12 << 10, "{growth} KiB more");
}

#[test]
fn what_is_written_lies_in_the_mirror_and_is_gone_with_its_scan() {
    let mirror = tempfile::tempdir().unwrap();
    let scan = |git_dir: &Path| {
        let deadline = Deadline::of("scanTimeout", 300);
        let mut budget = Budget::new(&Limits::default(), deadline, git_dir);
        let mut lines = Lines {
            left: 8 << 20,
            end: 0,
        };
        let content = Content::Stream(&mut lines);
        views(content, &mut budget, &mut Counter::default())
    };
    // Nor is there another place for it.
    let elsewhere = scan(&mirror.path().join("none"));
    assert!(matches!(elsewhere, Err(DecodeError::Spool(_))));
    scan(mirror.path()).unwrap();
    let left = std::fs::read_dir(mirror.path().join("git-gate")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_sink_that_fails_ends_the_walk() {
    struct Full;
    impl Sink for Full {
        fn text(&mut self, _: &Member, _: u64, _: &[u8]) -> Result<(), SinkError> {
            Err("no more".into())
        }
    }
    let result = views(
        Content::Bytes(b"x"),
        &mut budget(&Limits::default()),
        &mut Full,
    );
    assert!(matches!(result, Err(DecodeError::Sink(_))));
}

#[test]
fn a_zip_member_that_begins_behind_the_end_is_no_panic() {
    // A local header (APPNOTE 4.3.7), deflated, with more of an extra field than there is.
    let mut header = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
    header.extend([0; 16]);
    header.extend([1, 0, 0xff, 0xff, b'a']);
    let (seen, _) = seen_within(
        &[&b"a long text\0"[..], &header].concat(),
        &Limits::default(),
    );
    assert!(seen.holds("a long text"));
}
